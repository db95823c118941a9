package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/snapshot"
)

// A backup begins as a snapshot does: a page-exact copy of one read transaction, in a file of its own, so that nothing
// is held while a client takes it. In the copy the engine's tables are dropped, overwritten with zeros, because keys of
// tokens are among them; pages without content are cut off; and the file is one that plain SQLite opens without a -wal.
// Rows stay in the places that they have, and so do their rowids, which VACUUM INTO would not promise.

// ErrBackupDamaged says that the copy which was to become a backup is no sound database, and so the source is none
// either.
var ErrBackupDamaged = errors.New("the copy of the database is damaged")

// ErrBackupSpace says that a copy of the database would leave the node too little of its disk.
var ErrBackupSpace = errors.New("not enough room for a copy of the database")

// spareBytes is what a copy leaves free: a full disk would keep the log, and with it the node, from going on.
const spareBytes = 128 << 20

// BackupStage is what the making of a backup is at.
type BackupStage string

// The stages, in their order.
const (
	BackupCopying  BackupStage = "copying"  // the pages of one read transaction, beside the writes
	BackupCleaning BackupStage = "cleaning" // the engine's own tables and free pages go
	BackupChecking BackupStage = "checking" // PRAGMA integrity_check reads all of it
	BackupReady    BackupStage = "ready"
)

// BackupState is what is known of a backup while it is made. Index and Bytes are zero before the first page is copied.
type BackupState struct {
	Stage BackupStage
	Index raft.Index // the entry that the content stands for
	Bytes int64      // of the file; of the source until the stage is BackupReady
}

// Backup is a plain SQLite database with the content of one applied index, without the engine's tables. Its methods may
// be called by many goroutines.
type Backup struct {
	BackupState
	// Warnings are what PRAGMA integrity_check says of content that statements can bring about: a CHECK that a row does
	// not hold any more, a full-text index that disagrees with its text.
	Warnings []string
	image    *snapshot.Image
}

// Backup makes a backup of what is applied now. It tells watch of each stage, from the goroutine that calls. Entries
// are applied and reads run meanwhile. It ends early with the cause when ctx ends, and with ErrClosed when the engine
// is closed. A copy that is damaged is ErrBackupDamaged. The caller closes the Backup.
func (e *Engine) Backup(ctx context.Context, watch func(BackupState)) (*Backup, error) {
	return e.backup(ctx, watch, (*Backup).check)
}

// Copy is Backup without the check: of a database that is damaged, the rows that can be read are worth having.
func (e *Engine) Copy(ctx context.Context, watch func(BackupState)) (*Backup, error) {
	return e.backup(ctx, watch, nil)
}

func (e *Engine) backup(
	ctx context.Context, watch func(BackupState), check func(*Backup, *sqlite.Conn) error,
) (*Backup, error) {
	e.copying.RLock()
	defer e.copying.RUnlock()
	if e.closed.Load() {
		return nil, ErrClosed
	}
	refused := e.Quarantined()
	if check != nil {
		refused = cmp.Or(refused, e.Damage())
	}
	if refused != nil {
		return nil, refused
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(ErrClosed) })()
	b := new(Backup)
	generation := e.generation.Load()
	err := b.copy(ctx, e, watch)
	if err == nil {
		if err = b.finish(ctx, watch, check); err != nil {
			err = errors.Join(err, b.Close())
		}
	}
	if err != nil {
		e.noteDamage(generation, err)
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, fmt.Errorf("making a backup: %w", err)
	}
	return b, nil
}

// copy copies the pages of one read transaction.
func (b *Backup) copy(ctx context.Context, e *Engine, watch func(BackupState)) error {
	conn, err := sqlite.Open(e.file(), sqlite.CheckpointOptions())
	if err != nil {
		return err
	}
	b.image, err = snapshot.Take(ctx, conn, e.config.SnapshotDir, e.Cluster(), func() (raft.Base, error) {
		s := new(state)
		if err := s.loadMeta(conn); err != nil {
			return raft.Base{}, err
		}
		b.Index, b.Stage = s.base.Applied.Index, BackupCopying
		const size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
		err := queryInternal(conn, size, func(stmt *sqlite.Stmt) error {
			b.Bytes = stmt.ColumnInt64(0)
			return nil
		})
		if err == nil {
			err = e.roomFor(b.Bytes)
		}
		watch(b.BackupState)
		return s.base, err
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		if b.image != nil {
			err = errors.Join(err, b.image.Close())
		}
		return err
	}
	return nil
}

// roomFor refuses a copy that would fill the disk.
func (e *Engine) roomFor(bytes int64) error {
	free, err := e.freeSpace(e.config.SnapshotDir)
	if err == nil && free < bytes+spareBytes {
		err = fmt.Errorf("%w: %d MiB are free in %s, and the copy takes %d MiB and leaves %d", ErrBackupSpace,
			free>>20, e.config.SnapshotDir, bytes>>20, int64(spareBytes>>20))
	}
	return err
}

// finish makes the copy a plain database.
func (b *Backup) finish(ctx context.Context, watch func(BackupState), check func(*Backup, *sqlite.Conn) error) error {
	conn, err := sqlite.Open(b.Path(), scratchOptions())
	if err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, conn.Interrupt)
	b.Stage = BackupCleaning
	watch(b.BackupState)
	if err = dropInternal(conn); err == nil && check != nil {
		b.Stage = BackupChecking
		watch(b.BackupState)
		err = check(b, conn)
	}
	unhook()
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	file, err := os.Stat(b.Path())
	if err != nil {
		return err
	}
	b.Stage, b.Bytes = BackupReady, file.Size()
	watch(b.BackupState)
	return nil
}

// scratchOptions are those of a connection to a file that is thrown away when anything fails: no journal, no sync. The
// file leaves WAL mode by it (sqlite.org/wal.html#persistence_of_wal_mode). What is deleted is overwritten: remains of
// the schema too.
func scratchOptions() sqlite.Options {
	return sqlite.Options{Pragmas: []sqlite.Pragma{
		{Name: "journal_mode", Value: "off", Want: "off"},
		{Name: "synchronous", Value: "off", Want: "0"},
		{Name: "secure_delete", Value: "on", Want: "1"},
		{Name: "foreign_keys", Value: "off", Want: "0"},
		{Name: "trusted_schema", Value: "off", Want: "0"},
		{Name: "temp_store", Value: "memory", Want: "2"},
		{Name: "mmap_size", Value: "0"},
	}}
}

// dropInternal drops the engine's tables, and cuts free pages off the file.
func dropInternal(conn *sqlite.Conn) error {
	var drops []string
	const internal = `SELECT format('DROP TABLE "%w"', name) FROM sqlite_schema
		WHERE type = 'table' AND name LIKE '\_rsqld%' ESCAPE '\'`
	err := queryInternal(conn, internal, func(stmt *sqlite.Stmt) error {
		drops = append(drops, stmt.ColumnText(0))
		return nil
	})
	if err != nil {
		return err
	}
	for _, drop := range drops {
		if err := conn.Exec(drop); err != nil {
			return fmt.Errorf("leaving out the internal tables: %w", err)
		}
	}
	if err := conn.Exec("PRAGMA incremental_vacuum"); err != nil {
		return fmt.Errorf("cutting off free pages: %w", err)
	}
	return nil
}

// maxProblems is how many problems of a database are told.
const maxProblems = 5

// broughtAbout are the beginnings of what PRAGMA integrity_check says of content that statements can bring about in a
// sound file.
var broughtAbout = []string{
	"CHECK constraint failed in ", "malformed inverted index for FTS", "unable to validate the inverted index for FTS",
}

// check reads the whole file.
func (b *Backup) check(conn *sqlite.Conn) error {
	var problems []string
	err := queryInternal(conn, "PRAGMA integrity_check", func(stmt *sqlite.Stmt) error {
		problem := stmt.ColumnText(0)
		of := &problems
		for _, beginning := range broughtAbout {
			if strings.HasPrefix(problem, beginning) {
				of = &b.Warnings
			}
		}
		if problem != "ok" && len(*of) < maxProblems {
			*of = append(*of, problem)
		}
		return nil
	})
	if err == nil && len(problems) > 0 {
		return fmt.Errorf("%w: %s", ErrBackupDamaged, strings.Join(problems, "; "))
	}
	return err
}

// Path is the file. It must not be written.
func (b *Backup) Path() string { return b.image.Path() }

// ReadAt implements io.ReaderAt.
func (b *Backup) ReadAt(p []byte, offset int64) (int, error) { return b.image.ReadAt(p, offset) }

// Close removes the file.
func (b *Backup) Close() error { return b.image.Close() }
