package engine

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const sqlManual = "../../docs/sql.md"

// The messages in the manual's table of refusals are those that the statements beside them get, word by word, and every
// setting is in it with its default. With -rewrite the messages are written anew.
func TestManualTellsTheTruth(t *testing.T) {
	text, err := os.ReadFile(sqlManual)
	if err != nil {
		t.Fatal(err)
	}
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.script("create table t(a); create virtual table f using fts5(x); create table auto(id integer primary key autoincrement); analyze")
	l.apply(e)
	head, rest, _ := strings.Cut(string(text), "\n## What is refused")
	table, tail, _ := strings.Cut(rest, "\n## ")
	row := regexp.MustCompile("(?m)^\\| `(.*?)` \\| ?(.*?) ?\\|$")
	count := 0
	written := row.ReplaceAllStringFunc(table, func(line string) string {
		cells := row.FindStringSubmatch(line)
		r := l.run(e, cells[1])
		count++
		if r.Err == nil {
			t.Errorf("%s is not refused", cells[1])
			return line
		}
		if r.Err.Error() != cells[2] && !*rewrite {
			t.Errorf("%s:\n got %s\nwant %s", cells[1], r.Err, cells[2])
		}
		return "| `" + cells[1] + "` | " + r.Err.Error() + " |"
	})
	if count < 20 {
		t.Errorf("the table has %d rows", count)
	}
	for name, fallback := range settingDefaults {
		if !strings.Contains(tail, "| `"+name+"` | "+fallback+" |") {
			t.Errorf("setting %s with its default %s is not in the manual", name, fallback)
		}
	}
	if *rewrite {
		if err := os.WriteFile(sqlManual, []byte(head+"\n## What is refused"+written+"\n## "+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
