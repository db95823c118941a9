package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft/wal"
)

// A restore puts the content of a file in the place of all that users have stored. The file is made once, by
// PrepareRestore, and brought to the nodes (staged) before the entry that names it is proposed. Every replica makes a new
// generation of the same bytes, adds its internal tables by the same statements, and goes over to it: the pages are the
// same everywhere, and what the cluster knows of itself (members, tokens, settings, sessions) stays. A crash leaves the
// generation of before or the new one, which says that the entry was applied.

// ErrNotRestorable refuses a file that no cluster can go over to. Its text says why and what to do.
var ErrNotRestorable = errors.New("the file cannot be restored")

// NotStagedError stops a node from applying a restore whose file it does not have. It is the environment's: the node
// goes on when the file is there.
type NotStagedError struct {
	SHA256 [sha256.Size]byte
	Size   int64
}

func (e *NotStagedError) Error() string {
	return fmt.Sprintf("the file of a restore is not here yet (%d bytes, SHA-256 %x)", e.Size, e.SHA256)
}

// Restorable is a file that a cluster can go over to.
type Restorable struct {
	Path   string
	SHA256 [sha256.Size]byte
	Size   int64
	// Warnings are what is odd about the content and does not keep it from being restored.
	Warnings []string
}

// PrepareRestore makes a file that a cluster can go over to, at target, from any SQLite database, which is not changed:
// a backup of rsqld, a database of another program, in WAL mode or not, of any page size. Rowids stay. Internal tables of
// rsqld in it are left out. Errors that another file would not have wrap ErrNotRestorable.
//
// What lies beside source as its -wal belongs to it. Nobody may write the database meanwhile.
func PrepareRestore(ctx context.Context, source, target string) (Restorable, error) {
	r := Restorable{Path: target}
	scratch := target + ".copy"
	defer removeDatabase(scratch)
	if err := copyDatabase(source, scratch); err != nil {
		return r, err
	}
	conn, err := sqlite.Open(scratch, scratchOptionsFor(ctx))
	if err != nil {
		return r, fmt.Errorf("%w: opening a copy of %s: %w", ErrNotRestorable, source, err)
	}
	unhook := context.AfterFunc(ctx, conn.Interrupt)
	err = r.convert(conn)
	unhook()
	if err := errors.Join(err, conn.Close()); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return r, errors.Join(err, removeIfThere(target))
	}
	r.SHA256, r.Size, err = hashFile(target)
	return r, err
}

// scratchOptionsFor are those of a connection to a copy that is thrown away.
func scratchOptionsFor(context.Context) sqlite.Options {
	return sqlite.Options{Pragmas: []sqlite.Pragma{
		{Name: "synchronous", Value: "off"}, {Name: "foreign_keys", Value: "off"}, {Name: "trusted_schema", Value: "off"},
		{Name: "temp_store", Value: "memory"}, {Name: "mmap_size", Value: "0"},
	}}
}

// header is how every SQLite database begins (sqlite.org/fileformat2.html#the_database_header).
const header = "SQLite format 3\x00"

// copyDatabase copies a database file and the write-ahead log beside it.
func copyDatabase(source, target string) error {
	removeDatabase(target)
	file, err := os.Open(source)
	if err != nil {
		return err
	}
	defer file.Close()
	begin := make([]byte, len(header))
	if n, err := io.ReadFull(file, begin); err != nil || string(begin) != header {
		return fmt.Errorf("%w: %s is no SQLite database: it begins with %q", ErrNotRestorable, source, begin[:n])
	}
	for _, suffix := range []string{"", "-wal", "-journal"} {
		if err := copyFile(source+suffix, target+suffix); err != nil && (suffix == "" || !errors.Is(err, fs.ErrNotExist)) {
			return fmt.Errorf("copying %s: %w", source+suffix, err)
		}
	}
	return nil
}

func copyFile(source, target string) error {
	from, err := os.Open(source)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

func removeDatabase(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		_ = removeIfThere(path + suffix) // the next use of the name tells
	}
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// hashFile returns the SHA-256 and the length of a file.
func hashFile(path string) (sum [sha256.Size]byte, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return sum, 0, err
	}
	defer file.Close()
	h := sha256.New()
	if size, err = io.Copy(h, file); err != nil {
		return sum, 0, fmt.Errorf("reading %s: %w", path, err)
	}
	h.Sum(sum[:0])
	return sum, size, nil
}

// convert checks the copy and writes it as rsqld has its databases.
func (r *Restorable) convert(conn *sqlite.Conn) error {
	if err := r.inspect(conn); err != nil {
		var fromSQLite *sqlite.Error
		if errors.As(err, &fromSQLite) && !errors.Is(err, ErrNotRestorable) {
			err = fmt.Errorf("%w: %w", ErrNotRestorable, err)
		}
		return err
	}
	for _, sql := range []string{
		fmt.Sprintf("PRAGMA page_size=%d", sqlite.PageSize), "PRAGMA auto_vacuum=2",
		"VACUUM INTO '" + strings.ReplaceAll(r.Path, "'", "''") + "'",
	} {
		if err := conn.Exec(sql); err != nil {
			return fmt.Errorf("converting the database: %w", err)
		}
	}
	return syncFile(wal.OS(), r.Path)
}

// inspect refuses what replicas could not go over to, or would diverge from.
func (r *Restorable) inspect(conn *sqlite.Conn) error {
	encoding := ""
	if err := queryInternal(conn, "PRAGMA encoding", func(stmt *sqlite.Stmt) error { encoding = stmt.ColumnText(0); return nil }); err != nil {
		return err
	}
	if encoding != "UTF-8" {
		return fmt.Errorf("%w: its text is %s: dump it with sqlite3, and load the dump with `rsqld sql -f`", ErrNotRestorable, encoding)
	}
	if err := r.integrity(conn); err != nil {
		return err
	}
	if there, err := queryInt(conn, "SELECT count(*) FROM sqlite_schema WHERE name = '_rsqld_meta'"); err != nil {
		return err
	} else if there > 0 {
		if err := dropInternal(conn); err != nil {
			return err
		}
	}
	return r.schema(conn)
}

func (r *Restorable) integrity(conn *sqlite.Conn) error {
	b := new(Backup)
	if err := b.check(conn); err != nil {
		return fmt.Errorf("%w: %w", ErrNotRestorable, err)
	}
	r.Warnings = append(r.Warnings, b.Warnings...)
	violated, err := queryInt(conn, "SELECT count(*) FROM pragma_foreign_key_check")
	if err == nil && violated > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d rows violate foreign keys: PRAGMA foreign_key_check lists them", violated))
	}
	return err
}

// schema refuses objects that no statement could have made, and tables whose next rowid would be random.
func (r *Restorable) schema(conn *sqlite.Conn) error {
	type object struct {
		kind, name, sql string
		virtual         bool
	}
	var objects []object
	const all = `SELECT type, name, coalesce(sql, ''), sql LIKE 'create virtual table%' FROM sqlite_schema ORDER BY name`
	err := queryInternal(conn, all, func(stmt *sqlite.Stmt) error {
		objects = append(objects, object{stmt.ColumnText(0), stmt.ColumnText(1), stmt.ColumnText(2), stmt.ColumnInt64(3) != 0})
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range objects {
		if isInternal(o.name) {
			return fmt.Errorf("%w: the %s %q: names that begin with %s belong to rsqld itself; rename it first", ErrNotRestorable, o.kind, o.name, internalPrefix)
		}
		if o.virtual && !modules[moduleOf(o.sql)] {
			return fmt.Errorf("%w: the virtual table %q is of module %q: its content would not be the same on every replica; drop it first", ErrNotRestorable, o.name, moduleOf(o.sql))
		}
	}
	return r.rowids(conn)
}

// rowids refuses tables that hold the largest rowid.
func (r *Restorable) rowids(conn *sqlite.Conn) error {
	var names []string
	const tables = `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') AND NOT wr AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`
	err := queryInternal(conn, tables, func(stmt *sqlite.Stmt) error {
		names = append(names, stmt.ColumnText(0))
		return nil
	})
	for _, name := range names {
		if err != nil {
			break
		}
		var largest int64
		const sql = `SELECT coalesce(max(rowid), 0) FROM "%s"`
		if largest, err = queryInt(conn, fmt.Sprintf(sql, strings.ReplaceAll(name, `"`, `""`))); err == nil && largest == math.MaxInt64 {
			return fmt.Errorf("%w: %w", ErrNotRestorable, &VetoError{name})
		}
	}
	return err
}

// moduleOf returns the module of a CREATE VIRTUAL TABLE, in lower case.
func moduleOf(sql string) string {
	s := words{sql}
	for _, word := range []string{"create", "virtual", "table"} {
		if !s.keyword(word) {
			return ""
		}
	}
	if s.keyword("if") {
		_ = s.keyword("not") && s.keyword("exists") // SQLite has accepted the text
	}
	s.name()
	if strings.HasPrefix(s.blank(), ".") {
		s.text = s.text[1:]
		s.name()
	}
	if !s.keyword("using") {
		return ""
	}
	module, _ := s.name()
	return strings.ToLower(module)
}

// stagedName is what the file of a restore is called in Config.StageDir.
func stagedName(sum []byte) string { return hex.EncodeToString(sum) + ".sqlite" }

// Staged returns the path at which the file of a restore is looked for.
func (e *Engine) Staged(sum [sha256.Size]byte) string {
	return filepath.Join(e.config.StageDir, stagedName(sum[:]))
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
