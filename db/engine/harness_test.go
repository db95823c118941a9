package engine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
)

// openEngine opens an engine that the test closes at its end.
func openEngine(t testing.TB, config Config) *Engine {
	t.Helper()
	if config.Dir == "" {
		config.Dir = filepath.Join(t.TempDir(), "db")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := Open(config)
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

// log makes entries as a leader would.
type log struct {
	t       testing.TB
	entries []raft.Entry
	time    int64
	// stageDir is where the files of its restores are.
	stageDir string
}

// newLog returns an empty log. Its first entry has the time 2024-01-01 00:00:01 UTC, and each further one a second and
// some milliseconds more.
func newLog(t testing.TB) *log { return &log{t: t, time: 1_704_067_200_000_000_000} }

func (l *log) next() raft.Index { return raft.Index(len(l.entries) + 1) }

func (l *log) add(kind raft.EntryKind, data []byte) raft.Entry {
	entry := raft.Entry{ID: raft.EntryID{Term: 3, Index: l.next()}, Kind: kind, Data: data}
	l.entries = append(l.entries, entry)
	return entry
}

// command adds a command, stamped.
func (l *log) command(c *commandpb.Command) raft.Entry {
	l.t.Helper()
	l.time += 1_007_000_000
	c.Version, c.Seed = command.Version, uint64(l.next())*0x9e3779b97f4a7c15
	if c.Time == 0 {
		c.Time = l.time
	}
	data, err := command.Encode(c)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.add(raft.EntryCommand, data)
}

// script adds a command of texts, each without arguments.
func (l *log) script(texts ...string) raft.Entry {
	l.t.Helper()
	s := new(commandpb.Script)
	for _, text := range texts {
		s.Statements = append(s.Statements, &commandpb.Statement{Sql: text})
	}
	return l.command(&commandpb.Command{Body: &commandpb.Command_Script{Script: s}})
}

// statement adds a command of one text with arguments.
func (l *log) statement(text string, args ...*commandpb.Argument) raft.Entry {
	l.t.Helper()
	return l.command(&commandpb.Command{Body: &commandpb.Command_Script{Script: &commandpb.Script{
		Statements: []*commandpb.Statement{{Sql: text, Args: args}}}}})
}

// bootstrap adds the founding command.
func (l *log) bootstrap(settings map[string]string) raft.Entry {
	l.t.Helper()
	return l.found("0123456789abcdef", settings)
}

// found adds the founding command of a cluster.
func (l *log) found(cluster string, settings map[string]string) raft.Entry {
	l.t.Helper()
	return l.command(&commandpb.Command{Body: &commandpb.Command_Bootstrap{Bootstrap: &commandpb.Bootstrap{
		Cluster: []byte(cluster), Settings: settings,
		Member: &commandpb.Member{Id: 1, Name: "n1", Address: "127.0.0.1:4001", PublicKey: []byte("key of n1")},
		Token:  &commandpb.MintToken{Id: []byte("standing"), Key: make([]byte, 32), Standing: true},
	}}})
}

func integer(v int64) *commandpb.Argument {
	return &commandpb.Argument{Value: &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: v}}}
}

func text(v string) *commandpb.Argument {
	return &commandpb.Argument{Value: &commandpb.Value{Kind: &commandpb.Value_Text{Text: []byte(v)}}}
}

func named(name string, a *commandpb.Argument) *commandpb.Argument {
	return &commandpb.Argument{Name: name, Value: a.Value}
}

// apply applies the entries that e has not applied and returns their results.
func (l *log) apply(e *Engine) []*Result {
	l.t.Helper()
	results, err := e.Apply(l.entries[e.Applied():])
	if err != nil {
		l.t.Fatalf("applying: %v", err)
	}
	var list []*Result
	for _, r := range results {
		result, _ := r.(*Result)
		list = append(list, result)
	}
	return list
}

// run adds a script, applies it and returns its result.
func (l *log) run(e *Engine, texts ...string) *Result {
	l.t.Helper()
	l.script(texts...)
	results := l.apply(e)
	return results[len(results)-1]
}

// must is run for scripts that succeed.
func (l *log) must(e *Engine, texts ...string) *Result {
	l.t.Helper()
	r := l.run(e, texts...)
	if r.Err != nil {
		l.t.Fatalf("%q: %v", texts, r.Err)
	}
	return r
}

// rows is a Sink that keeps everything.
type rows struct {
	columns []Column
	rows    [][]any
	// onRow is called for each row before it is kept.
	onRow func() error
}

func (s *rows) Columns(columns []Column) error {
	s.columns = columns
	return nil
}

func (s *rows) Row(packed []byte) error {
	if s.onRow != nil {
		if err := s.onRow(); err != nil {
			return err
		}
	}
	decoded, err := wire.DecodeRows(packed, len(s.columns), 1)
	if err != nil {
		return err
	}
	for i, value := range decoded[0] {
		if blob, is := value.([]byte); is {
			decoded[0][i] = string(blob)
		}
	}
	s.rows = append(s.rows, decoded[0])
	return nil
}

// rowsOf runs a read and returns its rows as text: values split by |, rows by a space.
func rowsOf(t testing.TB, e *Engine, sql string, args ...*commandpb.Argument) string {
	t.Helper()
	var s rows
	if _, err := e.Query(context.Background(), sql, args, &s); err != nil {
		t.Fatalf("%q: %v", sql, err)
	}
	return s.String()
}

func (s *rows) String() string {
	var lines []string
	for _, row := range s.rows {
		var values []string
		for _, value := range row {
			values = append(values, fmt.Sprint(value))
		}
		lines = append(lines, strings.Join(values, "|"))
	}
	return strings.Join(lines, " ")
}

// copyFiles copies the database of a running engine as a kill would leave it.
func copyFiles(t testing.TB, e *Engine) Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "db")
	if err := os.CopyFS(dir, os.DirFS(e.config.Dir)); err != nil {
		t.Fatal(err)
	}
	return Config{Dir: dir}
}
