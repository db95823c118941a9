package repl_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/rsqld/rsqld/shell/repl"
)

// oneRow is a session with a cluster that answers every request with one row.
type oneRow struct{ next, row bool }

func (o *oneRow) Execute(context.Context, repl.Request) (repl.Results, error) {
	return &oneRow{next: true, row: true}, nil
}

func (o *oneRow) Control(ctx context.Context, verb string, args ...string) (repl.Results, error) {
	return o.Execute(ctx, repl.Request{})
}

func (o *oneRow) Place() repl.Place             { return repl.Place{Node: 1, Name: "n1", Leader: true} }
func (o *oneRow) Transaction() repl.Transaction { return repl.TransactionNone }
func (o *oneRow) NextResult() bool              { next := o.next; o.next = false; return next }
func (o *oneRow) Columns() []repl.Column        { return []repl.Column{{Name: "city"}, {Name: "people"}} }
func (o *oneRow) Next() bool                    { row := o.row; o.row = false; return row }
func (o *oneRow) Row() []any                    { return []any{"Zürich", int64(447082)} }
func (o *oneRow) Done() repl.Done               { return repl.Done{} }
func (o *oneRow) Err() error                    { return nil }
func (o *oneRow) Close() error                  { return nil }

// A Shell runs a script over any Client; the program's own talks to a cluster.
func Example() {
	shell, err := repl.New(repl.Options{Client: &oneRow{}, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		fmt.Println(err)
		return
	}
	script := "SELECT city, people FROM cities;\n.mode box\nSELECT city, people FROM cities;"
	if err := shell.Script(context.Background(), "cities.sql", strings.NewReader(script)); err != nil {
		fmt.Println(err)
	}
	// Output:
	// city,people
	// Zürich,447082
	// ╭────────┬────────╮
	// │ city   │ people │
	// ├────────┼────────┤
	// │ Zürich │ 447082 │
	// ╰────────┴────────╯
}
