package snapshot

import (
	"context"

	"github.com/rsqld/rsqld/db/sqlite"
)

// eachChunk calls use with each chunk of the database that a connection sees, in their order. The connection must be in a
// read transaction: what is read is what the transaction began with, whatever is written meanwhile. The memory is used
// again for the next chunk.
func eachChunk(ctx context.Context, conn *sqlite.Conn, use func(chunk []byte) error) error {
	stmt, err := conn.Internal("SELECT data FROM sqlite_dbpage ORDER BY pgno")
	if err != nil {
		return err
	}
	defer stmt.Release()
	chunk := make([]byte, 0, ChunkSize)
	for more := true; more; {
		if more, err = stmt.Step(); err != nil {
			return err
		}
		if more {
			chunk = append(chunk, stmt.ColumnRaw(0)...)
		}
		if len(chunk) == 0 || len(chunk) < ChunkSize && more {
			continue
		}
		if err := use(chunk); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		chunk = chunk[:0]
	}
	return nil
}
