package db

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/rsqld/rsqld/db/dump"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// maxDumpPatterns bounds how many tables a dump may be told to hold.
const maxDumpPatterns = 64

// dump is the verb that sends the database as SQL text. Its arguments are the level, and patterns of tables.
func (s *session) dump(ctx context.Context, id uint64, args []string) *sqlpb.ServerFrame {
	return s.export(ctx, id, args, "dump", s.node.engine.Copy, func(x *export) error {
		return x.script(ctx, args[min(len(args), 1):])
	})
}

// script sends the text of the copy as it is made.
func (x *export) script(ctx context.Context, tables []string) error {
	conn, err := sqlite.Open(x.copied.Path(), sqlite.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, conn.Interrupt)
	defer unhook()
	reader, writer := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := dump.Write(ctx, conn, writer, dump.Options{Tables: tables,
			Comment: fmt.Sprintf("rsqld %s: cluster %s as of index %d", Version, x.node.self.Cluster, x.copied.Index)})
		writer.CloseWithError(err)
		written <- err
	}()
	err = x.pieces(ctx, reader)
	reader.CloseWithError(context.Canceled) // nothing more is read, so that nothing more is written
	if failed := <-written; err == nil {
		err = failed
	}
	return errors.Join(err, conn.Close())
}
