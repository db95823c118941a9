package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// What splitting a script costs grows with its length and not with its square: SQLite is given each byte a bounded
// number of times, on the way to the log and in an entry, whatever follows the statement that is split off.
func TestSplittingIsLinear(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a)")
	small := "insert into t values(1);\n"
	scripts := map[string]func(n int) string{
		"small statements":  func(n int) string { return strings.Repeat(small, n) },
		"reads":             func(n int) string { return strings.Repeat("select 1 from t; -- c\n", n) },
		"comments between":  func(n int) string { return strings.Repeat(small+"/* "+strings.Repeat("c ", 50)+"*/", n) },
		"large statements":  func(n int) string { return strings.Repeat("select '"+strings.Repeat("s;", 5000)+"';", n/20) },
		"many lines of ;;;": func(n int) string { return strings.Repeat("select 1;;;;;;;;;;;;;;;;;;;;;;;;;\n", n) },
	}
	for name, script := range scripts {
		var classified, applied [2]int
		for i, n := range []int{400, 1600} {
			text := script(n)
			before := e.writer.users.offered
			l.must(e, text)
			applied[i] = e.writer.users.offered - before
			before = classifierOffered(e)
			for rest := text; rest != ""; {
				var err error
				if _, rest, err = e.Next(rest); err != nil {
					t.Fatal(err)
				}
			}
			classified[i] = classifierOffered(e) - before
		}
		for way, offered := range map[string][2]int{"applied": applied, "classified": classified} {
			if offered[1] > 5*offered[0] {
				t.Errorf("%s, %s: %d bytes for a script and %d for one of four times the length", name, way, offered[0], offered[1])
			}
		}
	}
}

func classifierOffered(e *Engine) int {
	if e.classifier.users == nil {
		return 0
	}
	return e.classifier.users.offered
}

// Arguments are handed to the statements of a text without copying those that are left.
func TestSplittingArgumentsIsLinear(t *testing.T) {
	args := make([]*commandpb.Argument, 10_000)
	for i := range args {
		args[i] = integer(int64(i))
	}
	piece := Piece{Parameters: make([]Parameter, 2)}
	rest := args
	taken := 0
	work := testing.AllocsPerRun(1, func() {
		for rest = args; len(rest) > 0; {
			var mine []*commandpb.Argument
			mine, rest = SplitArguments(piece, rest, true)
			taken += len(mine)
		}
	})
	if work > 0 || taken != 2*len(args) {
		t.Errorf("%v allocations, %d arguments taken", work, taken)
	}
}

// A NUL byte is refused where SQLite would come to it, whatever is before it; one that belongs to a later statement is
// refused there.
func TestNULInScripts(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a)")
	for _, text := range []string{"\x00", "select 1\x00", "select '\x00'", "insert into t values(1); select '\x00'", "select 1;\x00", "select 1; \x00select 2",
		strings.Repeat("insert into t values(1);", 1000) + "\x00", "select '" + strings.Repeat("x", 10_000) + "\x00'"} {
		if r := l.run(e, text); r.Err == nil || !strings.Contains(r.Err.Error(), "a NUL byte in SQL is not supported") {
			t.Errorf("%.40q: %v", text, r.Err)
		}
	}
	if got := rowsOf(t, e, "select count(*) from t"); got != "0" {
		t.Errorf("%s rows", got)
	}
}

// A statement that is longer than sql.max_statement_bytes is refused, and a text of several that are not is not, however
// it is given.
func TestMaxStatement(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(map[string]string{SettingMaxStatement: "9000"})
	l.apply(e)
	for length, tooLong := range map[int]bool{100: false, 8900: false, 9000: false, 9001: true, 40_000: true} {
		one := fmt.Sprintf("select '%s'", strings.Repeat("x", length-len("select ''")))
		for _, text := range []string{one, "select 1; " + one, one + "; select 1", one + ";-- " + strings.Repeat("c", 20)} {
			r := l.run(e, text)
			_, err := e.Classify(text)
			for way, err := range map[string]error{"apply": r.Err, "classify": err} {
				if (err != nil) != tooLong || err != nil && !strings.Contains(err.Error(), "more than 9000 bytes in one SQL statement, the limit of the setting sql.max_statement_bytes") {
					t.Errorf("%s of %d bytes in a text of %d: %v", way, length, len(text), err)
				}
			}
		}
	}
}
