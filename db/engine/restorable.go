package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft/wal"
)

// ErrNotRestorable refuses a file that no cluster can go over to. Its text says why and what to do.
var ErrNotRestorable = errors.New("the file cannot be restored")

// Restorable is a file that a cluster can go over to.
type Restorable struct {
	Path   string
	SHA256 [sha256.Size]byte
	Size   int64
	// Tables is how many tables users see in it.
	Tables int
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
		return notRestorable(err)
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
	if err := r.encoding(conn); err != nil {
		return err
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

// encoding refuses text that is not UTF-8: the databases of a cluster have one encoding.
func (r *Restorable) encoding(conn *sqlite.Conn) error {
	encoding := ""
	err := queryInternal(conn, "PRAGMA encoding", func(stmt *sqlite.Stmt) error { encoding = stmt.ColumnText(0); return nil })
	if err == nil && encoding != "UTF-8" {
		err = fmt.Errorf("%w: its text is %s: dump it with sqlite3, and load the dump with `rsqld sql -f`", ErrNotRestorable, encoding)
	}
	return err
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

// CheckRestorable refuses a file that PrepareRestore would not have made: it is for files that others have prepared. It
// reads all of it. An error that another file would not have wraps ErrNotRestorable.
func CheckRestorable(ctx context.Context, path string) error {
	if err := checkHeader(path); err != nil {
		return err
	}
	options := scratchOptionsFor(ctx)
	options.ReadOnly = true
	conn, err := sqlite.Open(path, options)
	if err != nil {
		return fmt.Errorf("%w: opening %s: %w", ErrNotRestorable, path, err)
	}
	unhook := context.AfterFunc(ctx, conn.Interrupt)
	err = new(Restorable).checkPrepared(conn)
	unhook()
	if err = errors.Join(err, conn.Close()); err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return notRestorable(err)
}

// checkHeader refuses what is no database, and one in WAL mode: opening it would make files beside it
// (sqlite.org/fileformat2.html#file_format_version_numbers).
func checkHeader(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	begin := make([]byte, len(header)+4)
	if n, err := io.ReadFull(file, begin); err != nil || string(begin[:len(header)]) != header {
		return fmt.Errorf("%w: it begins with %q: it is no SQLite database", ErrNotRestorable, begin[:n])
	}
	if write, read := begin[18], begin[19]; write != 1 || read != 1 {
		return fmt.Errorf("%w: its header names formats %d and %d, and 1 and 1 are needed", ErrNotRestorable, write, read)
	}
	return nil
}

// checkPrepared refuses a database that differs from those that convert writes.
func (r *Restorable) checkPrepared(conn *sqlite.Conn) error {
	for pragma, want := range map[string]int64{"page_size": sqlite.PageSize, "auto_vacuum": 2} {
		got, err := queryInt(conn, "PRAGMA "+pragma)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("%w: its %s is %d, and %d is needed", ErrNotRestorable, pragma, got, want)
		}
	}
	if err := r.encoding(conn); err != nil {
		return err
	}
	if err := r.integrity(conn); err != nil {
		return err
	}
	return r.schema(conn)
}

// notRestorable makes what SQLite says of a file an ErrNotRestorable.
func notRestorable(err error) error {
	var fromSQLite *sqlite.Error
	if errors.As(err, &fromSQLite) && !errors.Is(err, ErrNotRestorable) {
		return fmt.Errorf("%w: %w", ErrNotRestorable, err)
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
	const tables = `SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`
	count, err := queryInt(conn, tables)
	if err != nil {
		return err
	}
	r.Tables = int(count)
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
