package repl

import (
	"reflect"
	"strings"
	"testing"
)

func split(t testing.TB, pieces ...string) (texts []string, rest string) {
	t.Helper()
	s := NewSplitter()
	for _, piece := range pieces {
		if err := s.Feed(piece); err != nil {
			t.Fatal(err)
		}
		for statement, ok := s.Next(); ok; statement, ok = s.Next() {
			texts = append(texts, statement.Text)
		}
	}
	statement, _ := s.Rest()
	return texts, statement.Text
}

const trigger = `create trigger t after insert on a begin
  insert into b values(case when new.x then 1 else 2 end);
  update c set y = 'end;' where z = ";end;";
end;`

// TestSplitter proves that statements end at the semicolons that end them, and at no others.
func TestSplitter(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
		rest string
	}{
		{"", nil, ""},
		{" ; ;; \n;", nil, ""},
		{"select 1", nil, "select 1"},
		{"select 1;", []string{"select 1;"}, ""},
		{"select 1; select 2;\nselect 3", []string{"select 1;", "select 2;"}, "select 3"},
		{"select ';', \";\", `;`, [;];x;", []string{"select ';', \";\", `;`, [;];", "x;"}, ""},
		{"select 'it''s; fine';x", []string{"select 'it''s; fine';"}, "x"},
		{"-- a; b\nselect 1 -- c; d\n;", []string{"select 1 -- c; d\n;"}, ""},
		{"/* a; */ select /* b; -- */ 1; x", []string{"select /* b; -- */ 1;"}, "x"},
		{"select 4/2-1; select 1*/2;", []string{"select 4/2-1;", "select 1*/2;"}, ""},
		{"/* open; ", nil, ""},
		{"select 'open; ", nil, "select 'open;"},
		{trigger + "select 1;", []string{trigger, "select 1;"}, ""},
		{"explain query plan " + trigger + "x", []string{"explain query plan " + trigger}, "x"},
		{"CREATE /* c */ TEMP TRIGGER t BEGIN select 1; END;x", []string{"CREATE /* c */ TEMP TRIGGER t BEGIN select 1; END;"}, "x"},
		{"create trigger t begin select 1; end ; x", []string{"create trigger t begin select 1; end ;"}, "x"},
		{"create trigger t begin select 1; endless; end;x", []string{"create trigger t begin select 1; endless; end;"}, "x"},
		{"create trigger t begin select 1; end x; end;x", []string{"create trigger t begin select 1; end x; end;"}, "x"},
		{"create trigger t begin select 1; 'end'; end;x", []string{"create trigger t begin select 1; 'end'; end;"}, "x"},
		{"create trigger nonsense; select 1;", []string{"create trigger nonsense;", "select 1;"}, ""},
		{"create table trigger_begin(x); x", []string{"create table trigger_begin(x);"}, "x"},
		{"begin; commit;", []string{"begin;", "commit;"}, ""},
		{"create table a(b); create trigger t begin select 1; end;", []string{"create table a(b);", "create trigger t begin select 1; end;"}, ""},
	} {
		got, rest := split(t, c.in)
		if !reflect.DeepEqual(got, c.want) || rest != c.rest {
			t.Errorf("%q is split into %q and %q, want %q and %q", c.in, got, rest, c.want, c.rest)
		}
		if byLine, rest := split(t, strings.SplitAfter(c.in, "\n")...); !reflect.DeepEqual(byLine, c.want) || rest != c.rest {
			t.Errorf("%q line by line is split into %q and %q, want %q and %q", c.in, byLine, rest, c.want, c.rest)
		}
	}
}

// TestSplitterLines proves that each statement knows the line it begins in.
func TestSplitterLines(t *testing.T) {
	s := NewSplitter()
	if err := s.Feed("\n-- c\nselect\n1; select 2;\n\nselect '\n';"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{3, 4, 6} {
		statement, ok := s.Next()
		if !ok || statement.Line != want {
			t.Errorf("%q is at line %d, want %d", statement.Text, statement.Line, want)
		}
	}
}

// TestSplitterPending proves that only an unfinished statement or comment makes the shell ask for more.
func TestSplitterPending(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "  \n": false, "-- c\n": false, "/* c */": false, "select 1;": false,
		"/* c": true, "select": true, "select 1; x": true, "'": true,
	} {
		s := NewSplitter()
		if err := s.Feed(text); err != nil {
			t.Fatal(err)
		}
		for _, ok := s.Next(); ok; _, ok = s.Next() {
		}
		if s.Pending() != want {
			t.Errorf("after %q Pending is %t", text, !want)
		}
	}
}

// TestSplitterLimit proves that a statement without end is refused instead of filling memory.
func TestSplitterLimit(t *testing.T) {
	s := NewSplitter()
	piece := "'" + strings.Repeat("x", MaxStatement/4)
	var err error
	for range 5 {
		if err = s.Feed(piece); err != nil {
			break
		}
		s.Next()
		piece = piece[1:]
	}
	if err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("an endless statement gives %v", err)
	}
}

// FuzzSplitter proves that no text makes a Splitter lose or invent anything but blanks, comments and empty statements,
// and that pieces ending at line ends are split like the whole.
func FuzzSplitter(f *testing.F) {
	for _, seed := range []string{trigger, "select ';'; -- ;\n/* ; */;x", "a[b]c`d`;;", "create trigger;", "explain create trigger begin ;end;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		texts, rest := split(t, text)
		if lines, other := split(t, strings.SplitAfter(text, "\n")...); !reflect.DeepEqual(texts, lines) || rest != other {
			t.Fatalf("%q: whole %q and %q, by line %q and %q", text, texts, rest, lines, other)
		}
		at := 0
		for _, part := range append(texts, rest) {
			found := strings.Index(text[at:], part)
			if found < 0 {
				t.Fatalf("%q: %q is not in it behind byte %d", text, part, at)
			}
			at += found + len(part)
		}
		for _, part := range texts {
			if again, rest := split(t, part); len(again) != 1 || again[0] != part || rest != "" {
				t.Fatalf("%q is one statement and splits into %q and %q", part, again, rest)
			}
		}
	})
}
