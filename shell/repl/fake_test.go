package repl

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// fakeClient answers requests from a script and remembers them.
type fakeClient struct {
	transaction Transaction
	place       Place
	answers     map[string]*answer // by SQL without its semicolon, or "control " and the verb with its arguments
	prefix      map[string]*answer // by a beginning of the SQL
	seen        []string
	// onExecute is called before each request is answered.
	onExecute func(context.Context, Request) error
}

type answer struct {
	transaction *Transaction // how it stands afterwards
	columns     []Column
	rows        [][]any
	changed     int64
	err         error
	place       *Place
	block       bool // until the context ends
}

func newFake() *fakeClient {
	return &fakeClient{
		place:   Place{Node: 1, Name: "n1", Address: "127.0.0.1:4001", Leader: true},
		answers: map[string]*answer{},
		prefix:  map[string]*answer{},
	}
}

func (f *fakeClient) Execute(ctx context.Context, request Request) (Results, error) {
	f.seen = append(f.seen, fmt.Sprintf("%s: %.90s %.90v", request.Level, request.SQL, request.Args))
	if f.onExecute != nil {
		if err := f.onExecute(ctx, request); err != nil {
			return nil, err
		}
	}
	return f.reply(ctx, strings.TrimSuffix(request.SQL, ";"))
}

func (f *fakeClient) Control(ctx context.Context, verb string, args ...string) (Results, error) {
	return f.reply(ctx, strings.Join(append([]string{"control", verb}, args...), " "))
}

func (f *fakeClient) reply(ctx context.Context, request string) (Results, error) {
	a := f.answers[request]
	for beginning, other := range f.prefix {
		if a == nil && strings.HasPrefix(request, beginning) {
			a = other
		}
	}
	if a == nil {
		return nil, &Error{Class: ClassSQL, Message: fmt.Sprintf("the fake has no answer to %q", request), Offset: -1}
	}
	if a.block {
		<-ctx.Done()
		return nil, &Error{Class: ClassCancelled, Message: "cancelled", Offset: -1}
	}
	if a.place != nil {
		f.place = *a.place
	}
	if a.transaction != nil {
		f.transaction = *a.transaction
	}
	if a.err != nil && len(a.rows) == 0 {
		return nil, a.err
	}
	return &fakeResults{answer: a, at: -1}, nil
}

func (f *fakeClient) Place() Place             { return f.place }
func (f *fakeClient) Transaction() Transaction { return f.transaction }
func (f *fakeClient) Close() error             { return nil }

type fakeResults struct {
	*answer
	at   int
	done bool
}

func (r *fakeResults) NextResult() bool  { first := !r.done; r.done = true; return first }
func (r *fakeResults) Columns() []Column { return r.columns }
func (r *fakeResults) Next() bool        { r.at++; return r.at < len(r.rows) }
func (r *fakeResults) Row() []any        { return r.rows[r.at] }
func (r *fakeResults) Done() Done        { return Done{RowsAffected: r.changed} }
func (r *fakeResults) Close() error      { return nil }
func (r *fakeResults) Err() error {
	if r.at >= len(r.rows) {
		return r.err
	}
	return nil
}

// parseAnswer adds an answer that a test file describes: the request on the first line, line ends written \n, or "prefix" and its beginning;
// then columns, row, changed, error, place and block lines.
func (f *fakeClient) parseAnswer(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines[0] = strings.ReplaceAll(lines[0], `\n`, "\n")
	a := &answer{}
	if beginning, ok := strings.CutPrefix(lines[0], "prefix "); ok {
		f.prefix[beginning] = a
	} else {
		f.answers[lines[0]] = a
	}
	for _, line := range lines[1:] {
		word, rest, _ := strings.Cut(line, " ")
		if err := a.add(word, rest); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func (a *answer) add(word, rest string) (err error) {
	switch word {
	case "columns":
		for name := range strings.FieldsSeq(rest) {
			a.columns = append(a.columns, Column{Name: strings.ReplaceAll(name, "~", " ")})
		}
	case "row":
		var row []any
		row, err = parseRow(rest)
		a.rows = append(a.rows, row)
	case "changed":
		a.changed, err = strconv.ParseInt(rest, 10, 64)
	case "error":
		parts := strings.SplitN(rest, " ", 3)
		offset, bad := strconv.Atoi(parts[1])
		a.err, err = &Error{Class: Class(parts[0]), Offset: offset, Message: parts[2]}, bad
	case "place":
		place := Place{}
		var role string
		_, err = fmt.Sscan(rest, &place.Node, &place.Name, &role)
		place.Leader = role == "leader"
		a.place = &place
	case "transaction":
		stands, known := map[string]Transaction{"none": TransactionNone, "open": TransactionOpen, "failed": TransactionFailed}[rest]
		if !known {
			err = errors.New("no state of a transaction")
		}
		a.transaction = &stands
	case "block":
		a.block = true
	default:
		err = errors.New("not understood")
	}
	return err
}

// parseRow reads a JSON array; {"x": "00ff"} is a blob.
func parseRow(text string) ([]any, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var row []any
	if err := decoder.Decode(&row); err != nil {
		return nil, err
	}
	for i, v := range row {
		switch v := v.(type) {
		case json.Number:
			if n, err := v.Int64(); err == nil {
				row[i] = n
			} else if row[i], err = v.Float64(); err != nil {
				return nil, err
			}
		case map[string]any:
			blob, err := hex.DecodeString(v["x"].(string))
			if err != nil {
				return nil, err
			}
			row[i] = blob
		}
	}
	return row, nil
}

// transcript collects what goes to stdout as it is, and what goes to stderr with a mark before each line.
type transcript struct {
	bytes.Buffer
}

type marked struct {
	to   *transcript
	rest []byte
}

func (m *marked) Write(p []byte) (int, error) {
	m.rest = append(m.rest, p...)
	for {
		line, rest, ok := bytes.Cut(m.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		fmt.Fprintf(m.to, "2> %s\n", line)
		m.rest = rest
	}
}
