package repl

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// loader is a fake cluster with one table that refuses some rows.
type loader struct {
	*fakeClient
	columns int
	rows    []string // first value of each row, in order
	batches []int
	sizes   []int
	refuse  map[string]*Error
}

func newLoader(t *testing.T, columns int) *loader {
	l := &loader{fakeClient: newFake(), columns: columns, refuse: map[string]*Error{}}
	names := &answer{columns: []Column{{Name: "name"}}}
	for i := range columns {
		names.rows = append(names.rows, []any{fmt.Sprintf("c%d", i)})
	}
	l.prefix["SELECT name FROM pragma_table_info"] = names
	l.prefix["INSERT INTO"] = &answer{}
	l.onExecute = l.load
	return l
}

func (l *loader) load(_ context.Context, request Request) error {
	if !strings.HasPrefix(request.SQL, "INSERT") {
		return nil
	}
	if !request.Atomic {
		return errors.New("the batch is not atomic")
	}
	var first []string
	size := 0
	for i := 0; i < len(request.Args); i += l.columns {
		value := request.Args[i].(string)
		if err := l.refuse[value]; err != nil {
			return err
		}
		first = append(first, value)
		size += len(value)
	}
	if n := strings.Count(request.SQL, "("+strings.Repeat("?,", l.columns-1)+"?)"); n != len(first) {
		return fmt.Errorf("INSERT has %d rows of parameters for %d rows", n, len(first))
	}
	l.rows = append(l.rows, first...)
	l.batches, l.sizes = append(l.batches, len(first)), append(l.sizes, size)
	return nil
}

// importFile runs .import of content and returns what was said.
func importFile(t *testing.T, client Client, content []byte, arguments string) (said string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "data.csv")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	shell, err := New(Options{Client: client, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader(fmt.Sprintf(".import --csv %s '%s' t", arguments, path)))
	return out.String(), err
}

func numbered(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%d,x\n", i)
	}
	return b.Bytes()
}

// TestImportBatches proves that a file is sent in its order, in INSERTs of at most 500 rows, 256 KiB and 30,000
// parameters.
func TestImportBatches(t *testing.T) {
	l := newLoader(t, 2)
	if said, err := importFile(t, l, numbered(1234), ""); err != nil {
		t.Fatal(said)
	}
	if got := fmt.Sprint(l.batches); got != "[500 500 234]" {
		t.Errorf("1234 rows are sent as %s", got)
	}
	for i, row := range l.rows {
		if row != fmt.Sprint(i) {
			t.Fatalf("row %d is %s", i, row)
		}
	}
	l = newLoader(t, 1)
	if said, err := importFile(t, l, bytes.Repeat([]byte(strings.Repeat("y", 100_000)+"\n"), 10), ""); err != nil {
		t.Fatal(said)
	}
	for i, size := range l.sizes {
		if size > importBytes+100_000 {
			t.Errorf("INSERT %d holds %d bytes", i, size)
		}
	}
	l = newLoader(t, 1000)
	if said, err := importFile(t, l, bytes.Repeat([]byte(strings.Repeat("z,", 999)+"z\n"), 70), ""); err != nil {
		t.Fatal(said)
	}
	if got := fmt.Sprint(l.batches); got != "[30 30 10]" {
		t.Errorf("rows of 1000 columns are sent as %s", got)
	}
}

// TestImportRefused proves: if the cluster refuses a row, the error names its line, every row before it is loaded, none
// behind it, and the import can be taken up there.
func TestImportRefused(t *testing.T) {
	for _, bad := range []int{0, 1, 499, 500, 777, 999} {
		l := newLoader(t, 2)
		l.refuse[fmt.Sprint(bad)] = &Error{Class: ClassSQL, Message: "UNIQUE constraint failed: t.c0", Offset: -1}
		said, err := importFile(t, l, numbered(1000), "")
		if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 1 {
			t.Errorf("row %d: the import ends with %v", bad, err)
		}
		if len(l.rows) != bad || bad > 0 && l.rows[bad-1] != fmt.Sprint(bad-1) {
			t.Errorf("row %d is refused: %d rows are loaded", bad, len(l.rows))
		}
		if want := fmt.Sprintf("data.csv:%d: UNIQUE constraint failed: t.c0", bad+1); !strings.Contains(said, want) {
			t.Errorf("%q is not said in\n%s", want, said)
		}
		if want := fmt.Sprintf("use --skip %d\n", bad); bad > 0 && !strings.Contains(said, want) {
			t.Errorf("%q is not said in\n%s", want, said)
		}
		clear(l.refuse)
		if said, err := importFile(t, l, numbered(1000), fmt.Sprintf("--skip %d", bad)); err != nil || len(l.rows) != 1000 {
			t.Errorf("taken up at %d: %d rows, %v\n%s", bad, len(l.rows), err, said)
		}
	}
}

// TestImportUnknownOutcome proves that a batch of unknown fate is not sent again.
func TestImportUnknownOutcome(t *testing.T) {
	l := newLoader(t, 2)
	l.refuse["600"] = &Error{Class: ClassOutcomeUnknown, Message: "the leader was lost", Offset: -1}
	said, err := importFile(t, l, numbered(1000), "")
	if err == nil || len(l.rows) != 500 || !strings.Contains(said, "data.csv:501: the leader was lost") {
		t.Errorf("%d rows, %v\n%s", len(l.rows), err, said)
	}
	inserts := 0
	for _, request := range l.seen {
		if strings.Contains(request, "INSERT") {
			inserts++
		}
	}
	if inserts != 2 {
		t.Errorf("%d INSERTs were sent, want 2", inserts)
	}
}

// TestImportGzip proves that a gzipped file is read like the file in it, and that a damaged one is told of.
func TestImportGzip(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(numbered(700)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l := newLoader(t, 2)
	if said, err := importFile(t, l, packed.Bytes(), ""); err != nil || len(l.rows) != 700 {
		t.Errorf("%d rows, %v\n%s", len(l.rows), err, said)
	}
	l = newLoader(t, 2)
	said, err := importFile(t, l, packed.Bytes()[:packed.Len()-9], "")
	if err == nil || !strings.Contains(said, "unexpected EOF") {
		t.Errorf("half a gzip file gives %v\n%s", err, said)
	}
}

// TestImportWarnings proves that many bad lines do not flood the person.
func TestImportWarnings(t *testing.T) {
	l := newLoader(t, 2)
	said, err := importFile(t, l, bytes.Repeat([]byte("1\n"), 100), "")
	if err != nil || strings.Count(said, "filling the rest with NULL") != importWarnings || !strings.Contains(said, "90 more warnings") {
		t.Errorf("%v\n%s", err, said)
	}
}
