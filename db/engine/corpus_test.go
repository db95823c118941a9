package engine

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/transport/wire"
)

// The corpus is the files testdata/equal/*.sql. Each is the log of a cluster of its own, in this form:
//
//	=== setting sql.foreign_keys off     before the first entry
//	--- what the entry shows             begins an entry; its SQL follows
//	insert into t values(?, ?)
//	<<< 1, 'text', x'00', 2.5, null      its arguments
//	>>> 1|a 2|b                          the rows of its last statement: values split by |, rows by a space
//	!!! no such table: x                 or its error begins so
//
// An entry without >>> and !!! succeeds. With -rewrite the lines >>> and !!! are written anew, to be read by whoever
// changed something.
type corpus struct {
	path     string
	head     string // what is before the first entry
	settings map[string]string
	entries  []corpusEntry
}

var rewrite = flag.Bool("rewrite", false, "write the expected results of the corpus anew")

type corpusEntry struct {
	shows, sql string
	args       []*commandpb.Argument
	fails      string
	rows       string
	hasRows    bool
	// lines is the whole entry but what it expects.
	lines string
}

func readCorpus(t testing.TB) []corpus {
	t.Helper()
	paths, err := filepath.Glob("testdata/equal/*.sql")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	var all []corpus
	for _, path := range paths {
		all = append(all, parseCorpus(t, path))
	}
	return all
}

func parseCorpus(t testing.TB, path string) corpus {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := corpus{path: filepath.Base(path), settings: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if kind == "---" {
			c.entries = append(c.entries, corpusEntry{shows: rest})
		}
		if len(c.entries) == 0 {
			c.head += line
			if setting, is := strings.CutPrefix(rest, "setting "); is {
				name, value, _ := strings.Cut(setting, " ")
				c.settings[name] = value
			}
			continue
		}
		last := &c.entries[len(c.entries)-1]
		if kind != ">>>" && kind != "!!!" {
			last.lines += line
		}
		switch kind {
		case "---":
		case "<<<":
			last.args = parseArguments(t, rest)
		case ">>>":
			last.rows, last.hasRows = rest, true
		case "!!!":
			last.fails = rest
		default:
			last.sql += line
		}
	}
	return c
}

// parseArguments reads arguments written as SQL literals, each perhaps with a name: ":a 1".
func parseArguments(t testing.TB, text string) (args []*commandpb.Argument) {
	t.Helper()
	for _, one := range strings.Split(text, ", ") {
		arg := &commandpb.Argument{Value: &commandpb.Value{}}
		if name, value, named := strings.Cut(one, " "); named && name[0] == ':' {
			arg.Name, one = name[1:], value
		}
		if one[0] == '\'' {
			arg.Value.Kind = &commandpb.Value_Text{Text: []byte(strings.Trim(one, "'"))}
		} else if one[0] == 'x' {
			blob, err := hex.DecodeString(strings.Trim(one[1:], "'"))
			if err != nil {
				t.Fatal(err)
			}
			arg.Value.Kind = &commandpb.Value_Blob{Blob: blob}
		} else if n, err := strconv.ParseInt(one, 10, 64); err == nil {
			arg.Value.Kind = &commandpb.Value_Integer{Integer: n}
		} else if one != "null" {
			real, err := strconv.ParseFloat(one, 64)
			if err != nil {
				t.Fatalf("argument %q: %v", one, err)
			}
			arg.Value.Kind = &commandpb.Value_Real{Real: real}
		}
		args = append(args, arg)
	}
	return args
}

// log is the corpus as entries, after a Bootstrap.
func (c corpus) log(t testing.TB) *log {
	t.Helper()
	l := newLog(t)
	l.bootstrap(c.settings)
	for _, entry := range c.entries {
		l.statement(entry.sql, entry.args...)
	}
	return l
}

// outcome is the line of an entry's result: an error, or the rows of its last statement if it has any.
func (entry corpusEntry) outcome(r *Result) (fails, shown string, hasRows bool) {
	if r.Err != nil {
		return r.Err.Error(), "", false
	}
	if len(r.Statements) == 0 || r.Statements[len(r.Statements)-1].Columns == nil {
		return "", "", false
	}
	last := r.Statements[len(r.Statements)-1]
	packed, err := wire.DecodeRows(last.Rows, len(last.Columns), last.RowCount)
	if err != nil {
		return err.Error(), "", false
	}
	for i := range packed {
		for j, value := range packed[i] {
			switch v := value.(type) {
			case []byte:
				packed[i][j] = "x'" + hex.EncodeToString(v) + "'"
			case nil:
				packed[i][j] = "null"
			case string:
				packed[i][j] = strings.ReplaceAll(v, "\n", "⏎")
			}
		}
	}
	return "", (&rows{rows: packed}).String(), true
}

// rewrite writes the file with the results that came.
func (c corpus) rewrite(t *testing.T, results []*Result) {
	text := c.head
	for i, entry := range c.entries {
		text += entry.lines
		switch fails, shown, hasRows := entry.outcome(results[i+1]); {
		case fails != "":
			text += "!!! " + fails + "\n"
		case hasRows:
			text += strings.TrimRight(">>> "+shown, " ") + "\n"
		}
	}
	if err := os.WriteFile(filepath.Join("testdata/equal", c.path), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Every entry of the corpus has the result that its file says, the same on all replicas.
func TestEqualCorpus(t *testing.T) {
	count, refused := 0, 0
	for _, c := range readCorpus(t) {
		t.Run(c.path, func(t *testing.T) {
			t.Parallel()
			o := c.log(t).mustBeEqual(t)
			if *rewrite {
				c.rewrite(t, o.results)
				return
			}
			for i, entry := range c.entries {
				fails, shown, hasRows := entry.outcome(o.results[i+1])
				if fails != entry.fails || shown != strings.TrimSpace(entry.rows) || hasRows != entry.hasRows {
					t.Errorf("%s: %s\n%sgot error %q, rows %q\nwant error %q, rows %q", c.path, entry.shows, entry.sql, fails, shown, entry.fails, entry.rows)
				}
			}
		})
		count += len(c.entries)
		refused += len(slices.DeleteFunc(slices.Clone(c.entries), func(e corpusEntry) bool { return !strings.Contains(e.fails, "is not supported: ") }))
	}
	if count < 250 || refused < 60 {
		t.Errorf("the corpus has %d entries, of which %d are refusals", count, refused)
	}
}
