package engine

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// A restore puts the content of a file in the place of all that users have stored. The file is made once, by
// PrepareRestore, and brought to the nodes (staged) before the entry that names it is proposed. Every replica makes a new
// generation of the same bytes, adds its internal tables by the same statements, and goes over to it: the pages are the
// same everywhere, and what the cluster knows of itself (members, tokens, settings, sessions) stays. A crash leaves the
// generation of before or the new one, which says that the entry was applied.

// NotStagedError stops a node from applying a restore whose file it does not have. It is the environment's: the node
// goes on when the file is there.
type NotStagedError struct {
	SHA256 [sha256.Size]byte
	Size   int64
}

func (e *NotStagedError) Error() string {
	return fmt.Sprintf("the file of a restore is not here yet (%d bytes, SHA-256 %x)", e.Size, e.SHA256)
}

// stagedName is what the file of a restore is called in Config.StageDir.
func stagedName(sum []byte) string { return hex.EncodeToString(sum) + ".sqlite" }

// Staged returns the path at which the file of a restore is looked for.
func (e *Engine) Staged(sum [sha256.Size]byte) string {
	return filepath.Join(e.config.StageDir, stagedName(sum[:]))
}

// indexName is the file that says which entry the file of a restore is for.
func indexName(staged string) string { return staged + ".index" }

// StagedFor returns the newest entry that the file of a restore was applied by, or is being: the file is of no use once
// no log holds it. known is false for a file whose entry has not come yet.
func (e *Engine) StagedFor(sum [sha256.Size]byte) (index raft.Index, known bool, err error) {
	text, err := os.ReadFile(indexName(e.Staged(sum)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	number, err := strconv.ParseUint(string(text), 10, 63)
	if err != nil {
		return 0, false, nil // it was cut short by a crash: the age of the file decides
	}
	return raft.Index(number), true, nil
}

// KeepStaged forgets what the file of a restore was for: it is about to be used once more.
func (e *Engine) KeepStaged(sum [sha256.Size]byte) error {
	return removeIfThere(indexName(e.Staged(sum)))
}

// RoomForRestore refuses a restore that this node's disk has no room for: the file, of which missing bytes are to come,
// and a database made of it, while the present one is still there.
func (e *Engine) RoomForRestore(missing, size int64) error {
	free, err := e.freeSpace(e.config.StageDir)
	if need := missing + size + spareBytes; err == nil && free < need {
		err = fmt.Errorf("%w: %d MiB are free in %s, and the file, a database made of it and what must stay free take %d", ErrBackupSpace,
			free>>20, e.config.StageDir, need>>20)
	}
	return err
}

// restore applies a restore: a batch of its own.
func (e *Engine) restore(entry decodedEntry) (*Result, error) {
	body := entry.command.GetRestore()
	source := filepath.Join(e.config.StageDir, stagedName(body.Sha256))
	missing := &NotStagedError{[sha256.Size]byte(body.Sha256), int64(body.Size)}
	sum, size, err := hashFile(source)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing
	case err != nil:
		return nil, err
	case size != int64(body.Size) || !bytes.Equal(sum[:], body.Sha256):
		// It is of no use to anybody, and in the way of one that is.
		return nil, errors.Join(missing, removeIfThere(source))
	}
	// Before the generation is the one in use: a file without it would be kept for a day, and one with it is kept as long
	// as the log holds the entry, applied or not.
	if err := os.WriteFile(indexName(source), []byte(strconv.FormatUint(uint64(entry.ID.Index), 10)), 0o600); err != nil {
		return nil, fmt.Errorf("noting the entry of a staged file: %w", err)
	}
	r := &Result{Index: entry.ID.Index}
	next := e.generation.Load().next()
	restored, err := e.succeed(next, source, entry, r)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("applying the restore of entry %v: %w", entry.ID, err), os.RemoveAll(next.path()))
	}
	e.use(next, restored)
	e.log.Info("the database was restored", "index", entry.ID.Index, "bytes", size, "file", next.file())
	return r, e.reopen()
}

// succeed makes the generation that a restore leads to, and puts it in use for the next Open.
func (e *Engine) succeed(g generation, source string, entry decodedEntry, r *Result) (*state, error) {
	if err := os.RemoveAll(g.path()); err != nil {
		return nil, err
	}
	if err := g.begin(); err != nil {
		return nil, err
	}
	if err := copyFile(source, g.file()); err != nil {
		return nil, err
	}
	w, err := openWriter(g.file(), true, e.config.Fault)
	if err != nil {
		return nil, err
	}
	err = w.inherit(e.writer, entry, r)
	restored := w.state
	if err := errors.Join(err, w.close()); err != nil {
		return nil, err
	}
	return &restored, g.commit(wal.OS())
}

// inherit takes over what another database knows of the cluster, as of an entry after it.
func (w *writer) inherit(from *writer, entry decodedEntry, r *Result) error {
	if err := w.begin(); err != nil {
		return err
	}
	for _, table := range []string{"settings", "members", "tokens", "sessions"} {
		if err := copyRows(w.conn, from.conn, internalPrefix+"_"+table); err != nil {
			return fmt.Errorf("taking over table %s_%s: %w", internalPrefix, table, err)
		}
	}
	s := from.state
	s.time = max(s.time, entry.command.Time)
	s.base.Applied = entry.ID
	s.chain = s.chain.next(entry.ID.Index, r)
	w.state = s
	if err := w.commit(); err != nil {
		return err
	}
	return w.load()
}

// copyRows copies the rows of an internal table in the order of its key.
func copyRows(to, from *sqlite.Conn, table string) error {
	columns, err := queryInt(from, fmt.Sprintf("SELECT count(*) FROM pragma_table_info('%s')", table))
	if err != nil {
		return err
	}
	insert := fmt.Sprintf("INSERT INTO %s VALUES (?%s)", table, strings.Repeat(", ?", int(columns)-1))
	return queryInternal(from, fmt.Sprintf("SELECT * FROM %s ORDER BY 1", table), func(stmt *sqlite.Stmt) error {
		values := make([]any, columns)
		for i := range values {
			switch stmt.ColumnType(i) {
			case sqlite.Integer:
				values[i] = stmt.ColumnInt64(i)
			case sqlite.Text:
				values[i] = stmt.ColumnText(i)
			default:
				values[i] = stmt.ColumnBytes(i, nil)
			}
		}
		return execInternal(to, insert, values...)
	})
}

// isRestore reports whether an entry is a restore.
func (d *decodedEntry) isRestore() bool {
	if d.command == nil {
		return false
	}
	_, is := d.command.Body.(*commandpb.Command_Restore)
	return is
}
