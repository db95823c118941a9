package testcluster_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
)

// corpus is a file of db/engine/testdata/equal: the log of a cluster, as SQL (db/engine: corpus_test.go).
type corpus struct {
	name     string
	settings []string // --set
	entries  []driver.Request
}

func readCorpora(t *testing.T) (all []corpus) {
	t.Helper()
	paths, err := filepath.Glob("../db/engine/testdata/equal/*.sql")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no corpus: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c := corpus{name: strings.TrimSuffix(filepath.Base(path), ".sql")}
		for line := range strings.Lines(string(text)) {
			kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if setting, is := strings.CutPrefix(rest, "setting "); is && kind == "===" {
				c.settings = append(c.settings, "--set", strings.Replace(setting, " ", "=", 1))
			}
			c.line(t, kind, rest, line)
		}
		all = append(all, c)
	}
	return all
}

func (c *corpus) line(t *testing.T, kind, rest, line string) {
	if kind == "---" {
		c.entries = append(c.entries, driver.Request{Atomic: true})
	}
	if len(c.entries) == 0 {
		return
	}
	last := &c.entries[len(c.entries)-1]
	switch kind {
	case "---", ">>>", "!!!":
	case "<<<":
		for one := range strings.SplitSeq(rest, ", ") {
			last.Args = append(last.Args, literal(t, one))
		}
	default:
		last.SQL += line
	}
}

// literal reads an argument.
func literal(t *testing.T, text string) any {
	if name, value, named := strings.Cut(text, " "); named && name[0] == ':' {
		return sql.Named(name[1:], literal(t, value))
	}
	switch {
	case text == "null":
		return nil
	case text[0] == '\'':
		return strings.Trim(text, "'")
	case text[0] == 'x':
		b, err := hex.DecodeString(strings.Trim(text[1:], "'"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	real, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return real
}

// TestEqualOnProcesses proves: the corpus of SQL, sent through the nodes in turn, each entry to another one, leaves the same
// schema and rows on three processes, one of which is killed in the middle of each file and started again at its end.
func TestEqualOnProcesses(t *testing.T) {
	nodes, done := trio(t), 0
	for i, c := range readCorpora(t) {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
			defer cancel()
			cluster := nodes
			if len(c.settings) > 0 {
				cluster = trioWith(t, c.settings...)
			}
			done += c.run(ctx, t, cluster, cluster[i%3])
			if len(c.settings) == 0 {
				dropAll(ctx, t, cluster)
			}
		})
	}
	if done < 150 {
		t.Errorf("%d entries succeeded: the corpus proves little", done)
	}
}

// reads reports whether an entry leaves nothing to be compared.
func reads(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	for _, word := range []string{"insert", "update", "delete", "replace", "create", "drop", "alter", ";"} {
		if strings.Contains(strings.TrimRight(text, "; "), word) {
			return false
		}
	}
	return strings.HasPrefix(text, "select") || strings.HasPrefix(text, "with")
}

// run applies the corpus and returns how many entries succeeded. victim is killed in its middle.
func (c *corpus) run(ctx context.Context, t *testing.T, nodes []*process, victim *process) (done int) {
	t.Helper()
	alive := nodes
	for i, entry := range c.entries {
		if i == len(c.entries)/2 {
			victim.kill()
			alive = except(nodes, victim)
		}
		if reads(entry.SQL) {
			continue
		}
		err := withConn(ctx, alive[i%len(alive)].config(), func(conn *driver.Conn) error {
			results, err := conn.Execute(ctx, entry)
			if err != nil {
				return err
			}
			_, err = collect(results)
			return errors.Join(err, results.Close())
		})
		var refused *driver.Error
		switch {
		case err == nil:
			done++
		case !errors.As(err, &refused) || refused.Class != driver.ClassSQL && refused.Class != driver.ClassDenied && refused.Class != driver.ClassTooLarge:
			t.Fatalf("%s: %v", entry.SQL, err)
		}
	}
	victim.start()
	want := content(ctx, t, nodes[0], driver.LevelStrong)
	for _, p := range nodes {
		p.eventually("to hold what the others do", func(ctx context.Context) error {
			got, err := dump(ctx, p, driver.LevelLocal)
			if err == nil && got != want {
				err = fmt.Errorf("it differs:\n%s", difference(got, want))
			}
			return err
		})
	}
	return done
}

// content is dump, which has to succeed.
func content(ctx context.Context, t *testing.T, p *process, level driver.Level) string {
	t.Helper()
	text, err := dump(ctx, p, level)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// dump is the schema and every row of every table of a node, as text.
func dump(ctx context.Context, p *process, level driver.Level) (text string, err error) {
	err = withConn(ctx, p.config(), func(conn *driver.Conn) error {
		tables, err := query(ctx, conn, level, "select name, sql from sqlite_schema where name not like '\\_rsqld%' escape '\\' order by rowid")
		if err != nil {
			return err
		}
		text = fmt.Sprintln(tables)
		names, err := query(ctx, conn, level, `select name, wr from pragma_table_list
			where type in ('table', 'shadow') and schema = 'main' and name not like '\_rsqld%' escape '\' and name <> 'sqlite_schema' order by name`)
		for _, name := range names {
			columns := "rowid, *"
			if name[1] == int64(1) {
				columns = "*"
			}
			var rows [][]any
			if rows, err = query(ctx, conn, level, fmt.Sprintf(`select %s from "%s"`, columns, name[0])); err != nil {
				return fmt.Errorf("reading %v: %w", name[0], err)
			}
			for _, row := range rows {
				for i, value := range row {
					if b, is := value.([]byte); is && len(b) > sha256.Size {
						row[i] = sha256.Sum256(b)
					}
				}
			}
			text += fmt.Sprintln(name[0], rows)
		}
		return err
	})
	return text, err
}

// difference is the first line in which two texts differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("got  %.300s\nwant %.300s", g[i], w[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(g), len(w))
}

// trioWith is trio, founded with further flags.
func trioWith(t *testing.T, args ...string) []*process {
	t.Helper()
	n1 := newProcess(t, "n1", args...).start()
	nodes := []*process{n1, newProcess(t, "n2").joins(n1, n1).start(), newProcess(t, "n3").joins(n1, n1).start()}
	awaitVoters(t, 3, nodes...)
	return nodes
}

// dropAll empties a cluster for the next file.
func dropAll(ctx context.Context, t *testing.T, nodes []*process) {
	t.Helper()
	err := withConn(ctx, nodes[0].config(), func(conn *driver.Conn) error {
		for pass := 0; ; pass++ {
			found, err := query(ctx, conn, driver.LevelStrong, `select type, name from sqlite_schema
				where type in ('table', 'view', 'trigger') and name not like '\_rsqld%' escape '\' and name not like 'sqlite\_%' escape '\'`)
			if err != nil || len(found) == 0 {
				return err
			}
			failed := []error{}
			for _, one := range slices.Backward(found) {
				// What another one needs, or what went with another one, is looked at in the next pass.
				if _, err := query(ctx, conn, driver.LevelSession, fmt.Sprintf(`drop %s if exists "%s"`, one[0], one[1])); err != nil {
					failed = append(failed, err)
				}
			}
			if pass == 10 {
				return errors.Join(failed...)
			}
		}
	})
	if err != nil {
		t.Fatalf("emptying the cluster: %v", err)
	}
}
