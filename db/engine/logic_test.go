package engine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/transport/wire"
)

var logicDir = flag.String("sqllogic.dir", "", "run the *.test files below this directory as well, and report differences to plain SQLite")

// logicDifferences bounds how many differences of one file are told.
const logicDifferences = 10

// plainSide is SQLite as it is, with nothing set: what the engine is held against.
type plainSide struct{ conn *sqlite.Conn }

func (p plainSide) exec(sql string) error { return p.conn.Exec(sql) }

func (p plainSide) query(sql string) (got logicRows, err error) {
	stmt, _, err := p.conn.Prepare(sql)
	if err != nil {
		return got, err
	}
	if stmt == nil {
		return got, errors.New("no statement")
	}
	defer stmt.Release()
	for {
		row, err := stmt.Step()
		got.columns = stmt.ColumnCount()
		if err != nil || !row {
			return got, err
		}
		if err := got.add(appendRow(nil, stmt, got.columns)); err != nil {
			return got, err
		}
	}
}

// add adds one packed row.
func (rows *logicRows) add(packed []byte) error {
	decoded, err := wire.DecodeRows(packed, rows.columns, 1)
	if err == nil {
		rows.rows, rows.packed = append(rows.rows, decoded[0]), append(rows.packed, string(packed))
	}
	return err
}

// engineSide is an Engine: writes are entries, and reads go to a reader.
type engineSide struct {
	engine *Engine
	log    *log
	// twice makes each read an entry as well, which must give the same rows.
	twice bool
}

func (s engineSide) exec(sql string) error {
	_, err := s.apply(sql)
	return err
}

func (s engineSide) apply(sql string) (*Result, error) {
	s.log.entries = s.log.entries[:0:0]
	s.log.script(sql)
	s.log.entries[0].ID.Index = s.engine.Applied() + 1
	results, err := s.engine.Apply(s.log.entries)
	if err != nil {
		s.log.t.Fatalf("applying %q: %v", sql, err)
	}
	r := results[0].(*Result)
	return r, r.Err
}

func (s engineSide) query(sql string) (logicRows, error) {
	piece, _, err := s.engine.Next(sql)
	if err != nil {
		return logicRows{}, err
	}
	if piece.Class == Write {
		return s.entryRows(sql)
	}
	var read logicRows
	if _, err := s.engine.Query(context.Background(), strings.TrimSuffix(sql, ";"), nil, (*logicSink)(&read)); err != nil || !s.twice {
		return read, err
	}
	applied, err := s.entryRows(sql)
	var policy *PolicyError
	if errors.As(err, &policy) && strings.HasSuffix(policy.Feature, " in a write") {
		return read, nil
	}
	if err == nil && !slices.Equal(applied.packed, read.packed) {
		err = fmt.Errorf("a reader gives the rows %q and an entry %q", read.packed, applied.packed)
	}
	return read, err
}

// entryRows runs a query as an entry and returns the rows of its last statement.
func (s engineSide) entryRows(sql string) (got logicRows, err error) {
	result, err := s.apply(sql)
	if err != nil {
		return got, err
	}
	last := result.Statements[len(result.Statements)-1]
	if last.RowsDropped {
		return got, fmt.Errorf("more than %d bytes of rows", MaxResultBytes)
	}
	got.columns = len(last.Columns)
	decoded, err := wire.DecodeRows(last.Rows, got.columns, last.RowCount)
	for _, row := range decoded {
		got.rows = append(got.rows, row)
		got.packed = append(got.packed, string(wire.AppendRow(nil, row)))
	}
	return got, err
}

// logicSink is a Sink that keeps rows.
type logicSink logicRows

func (s *logicSink) Columns(columns []Column) error {
	s.columns = len(columns)
	return nil
}

func (s *logicSink) Row(packed []byte) error { return (*logicRows)(s).add(packed) }

// logicRun is one file on plain SQLite and on an Engine.
type logicRun struct {
	file      *logicFile
	plain     plainSide
	engine    engineSide
	threshold int
	// labels are the values of the queries with a label.
	labels map[string][]string
	// records are counted; differences are to plain SQLite, surprises those of plain SQLite to the file.
	records                int
	differences, surprises []string
}

func newLogicRun(t testing.TB, file *logicFile) *logicRun {
	conn, err := sqlite.Open(":memory:", sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.apply(e)
	return &logicRun{file: file, plain: plainSide{conn}, engine: engineSide{engine: e, log: l}, labels: map[string][]string{}}
}

// run runs every record. With correct set it writes down what came in the place of what was expected.
func (x *logicRun) run(correct bool) {
	for _, r := range x.file.records {
		plain, engine := r.isFor("sqlite"), r.isFor("sqlite", "rsqld")
		if !plain && !engine {
			continue
		}
		switch r.kind() {
		case "halt":
			return
		case "hash-threshold":
			x.threshold, _ = strconv.Atoi(r.argument(1)) // no number is no threshold
		case "statement":
			x.records++
			x.statement(r, plain, engine, correct)
		case "query":
			x.records++
			x.query(r, plain, engine, correct)
		case "":
		default:
			x.surprise(r, "%q is no kind of record", r.kind())
		}
	}
}

func (x *logicRun) statement(r *logicRecord, plain, engine, correct bool) {
	var err, other error
	switch {
	case plain && engine:
		err, other = x.plain.exec(r.sql()), x.engine.exec(r.sql())
		if logicError(err) != logicError(other) {
			x.differ(r, "%q, and plain SQLite %q", logicError(other), logicError(err))
		}
	case plain:
		err = x.plain.exec(r.sql())
	default:
		err = x.engine.exec(r.sql())
	}
	begins, fails := r.fails()
	if correct && fails && err != nil {
		r.command = append(r.command[:2], logicError(err))
	} else if fails != (err != nil) || !strings.HasPrefix(strings.Join(strings.Fields(logicError(err)), " "), begins) {
		x.surprise(r, "%q", logicError(err))
	}
}

// logicError is an error on one line.
func logicError(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

func (x *logicRun) query(r *logicRecord, plain, engine, correct bool) {
	var got logicRows
	var err error
	if plain {
		got, err = x.plain.query(r.sql())
	}
	if engine {
		other, failed := x.engine.query(r.sql())
		if !plain {
			got, err = other, failed
		} else if logicError(failed) != logicError(err) || !slices.Equal(sortedRows(r, other), sortedRows(r, got)) {
			x.differ(r, "%v %q, and plain SQLite %v %q", other.rows, logicError(failed), got.rows, logicError(err))
		}
	}
	values := r.values(got)
	switch {
	case err != nil:
		x.surprise(r, "%v", err)
	case got.columns != len(r.argument(1)):
		x.surprise(r, "%d columns", got.columns)
	case correct:
		r.want, r.wants = logicLines(values, x.threshold), true
	case !r.agrees(values):
		x.surprise(r, "%q", values)
	}
	if label := r.argument(3); label != "" && err == nil {
		flat := slices.Concat(values...)
		if before, labelled := x.labels[label]; labelled && !slices.Equal(before, flat) {
			x.surprise(r, "%q, and before with the label %s %q", flat, label, before)
		}
		x.labels[label] = flat
	}
}

// sortedRows are the packed rows, in their order if that is asked for.
func sortedRows(r *logicRecord, got logicRows) []string {
	packed := slices.Clone(got.packed)
	if r.argument(2) != "nosort" {
		slices.Sort(packed)
	}
	return packed
}

func (x *logicRun) differ(r *logicRecord, format string, args ...any) {
	x.differences = append(x.differences, x.place(r)+fmt.Sprintf(format, args...))
}

func (x *logicRun) surprise(r *logicRecord, format string, args ...any) {
	x.surprises = append(x.surprises, x.place(r)+fmt.Sprintf(format, args...))
}

func (x *logicRun) place(r *logicRecord) string {
	return fmt.Sprintf("%s:%d: %.300s\n gives ", x.file.path, r.line, r.sql())
}

// Every record of the files in testdata/sqllogic gives what its file says, on plain SQLite, in an entry and on a reader,
// where the file does not say in so many words that rsqld differs. With -rewrite the files are written with what plain
// SQLite gives, to be read by whoever changed them.
func TestLogic(t *testing.T) {
	paths, err := filepath.Glob("testdata/sqllogic/*.test")
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d files: %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			x := newLogicRun(t, readLogicFile(t, path))
			x.engine.twice = true
			x.run(*rewrite)
			if *rewrite {
				if err := x.file.write(); err != nil {
					t.Fatal(err)
				}
			}
			for _, found := range slices.Concat(x.differences, x.surprises) {
				t.Error(found)
			}
			if x.records < 15 {
				t.Errorf("%d records prove little", x.records)
			}
		})
	}
}

// No record of a foreign corpus, given by -sqllogic.dir, gives anything else than on plain SQLite. What plain SQLite does
// and the corpus does not expect is counted and is no failure: a corpus is written for other versions, and other engines.
func TestLogicCorpus(t *testing.T) {
	files, records, surprises := 0, 0, 0
	if *logicDir == "" {
		return // there is none: TestLogic has its own files
	}
	err := filepath.WalkDir(*logicDir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".test" {
			return err
		}
		t.Run(strings.TrimPrefix(path, *logicDir), func(t *testing.T) {
			x := newLogicRun(t, readLogicFile(t, path))
			x.run(false)
			files, records, surprises = files+1, records+x.records, surprises+len(x.surprises)
			for _, found := range x.differences[:min(logicDifferences, len(x.differences))] {
				t.Error(found)
			}
			for _, found := range x.surprises[:min(logicDifferences, len(x.surprises))] {
				t.Log(found)
			}
			t.Logf("sqllogic: %d records, %d differences, %d not as the file has it", x.records, len(x.differences), len(x.surprises))
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("sqllogic: files=%d records=%d surprises=%d", files, records, surprises)
}

// The runner notices what it is there for: an error and a row that the file does not have, rows in another order, and an
// engine that does something else than plain SQLite.
func TestLogicNotices(t *testing.T) {
	tests := []struct {
		text                   string
		differences, surprises int
	}{
		{"statement ok\ncreate table t(a)\n\nquery I nosort\nselect count(*) from t\n----\n0", 0, 0},
		{"statement ok\nselect * from absent", 0, 1},
		{"statement error no such column\nselect * from absent", 0, 1},
		{"statement error no such table: absent\nselect * from absent", 0, 0},
		{"statement error\nselect 1", 0, 1},
		{"query II nosort\nvalues(1, 2), (0, 3)\n----\n1\t2\n0\t3", 0, 0},
		{"query II nosort\nvalues(1, 2), (0, 3)\n----\n1\n2\n0\n3", 0, 0},
		{"query II rowsort\nvalues(1, 2), (0, 3)\n----\n0\t3\n1\t2", 0, 0},
		{"query II valuesort\nvalues(1, 2), (0, 3)\n----\n0\n1\n2\n3", 0, 0},
		{"query II nosort\nvalues(1, 2), (0, 3)\n----\n0\t3\n1\t2", 0, 1},
		{"query I nosort\nvalues(1, 2)\n----\n1\t2", 0, 1},
		{"query ITR nosort\nvalues('12x', '', 2), (null, x'00ff41', null)\n----\n12\t(empty)\t2.000\nNULL\t@@A\tNULL", 0, 0},
		// The hash is that of the lines 1 and 2, by md5sum.
		{"query I nosort\nvalues(1), (2)\n----\n2 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0", 0, 0},
		{"query I nosort\nvalues(1), (3)\n----\n2 values hashing to 6ddb4095eb719e2a9f0a3f95677d24e0", 0, 1},
		{"query I nosort x\nvalues(1)\n----\n1\n\nquery I nosort x\nvalues(2)\n----\n2", 0, 1},
		{"query I nosort\npragma foreign_keys\n----\n0", 1, 0},
		{"statement ok\nattach ':memory:' as x", 1, 0},
		{"onlyif rsqld\nstatement error attach is not supported\nattach ':memory:' as x", 0, 0},
		{"skipif rsqld\nstatement ok\nattach ':memory:' as x", 0, 0},
		{"skipif sqlite\nstatement ok\nnonsense", 0, 0},
		{"halt\n\nstatement ok\nnonsense", 0, 0},
		{"stetement ok\nselect 1", 0, 1},
	}
	for _, test := range tests {
		path := filepath.Join(t.TempDir(), "x.test")
		if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		x := newLogicRun(t, readLogicFile(t, path))
		x.run(false)
		if len(x.differences) != test.differences || len(x.surprises) != test.surprises {
			t.Errorf("%s\ndifferences %q, want %d; surprises %q, want %d", test.text, x.differences, test.differences, x.surprises, test.surprises)
		}
	}
}
