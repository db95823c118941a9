package dump

import (
	"fmt"
	"strings"
	"testing"
)

// Tokens are told apart as SQLite does, as far as finding a module, its options and the end of a statement needs.
func TestTokens(t *testing.T) {
	for sql, want := range map[string]string{
		"":                                "[] ",
		"a--b\nc":                         "[a c] ",
		"a /* b */ c":                     "[a c] ",
		"'it''s' \"q\"\"u\" [b r] `t``k`": "['it''s' \"q\"\"u\" [b r] `t``k`] ",
		"x -- open":                       "[x] --",
		"x /* open":                       "[x] /*",
		"x /*/":                           "[x] /*",
		"'-- no' = 1":                     "['-- no' = 1] ",
		"'open":                           "['open] ",
		"-":                               "[-] ",
	} {
		if list, open := tokens(sql); fmt.Sprintf("%v %s", list, open) != want {
			t.Errorf("%q: %q %q, want %s", sql, list, open, want)
		}
	}
	for sql, want := range map[string]string{"select 1": "select 1;", "select 1 -- x": "select 1 -- x\n;", "select 1 /* x": "select 1 /* x*/;"} {
		if got := Ended(sql); got != want {
			t.Errorf("%q ends as %q", sql, got)
		}
	}
}

// The module of a virtual table and its options are found whatever way they are written.
func TestModule(t *testing.T) {
	for sql, want := range map[string]string{
		"create virtual table t using fts5(a, content='')":                   "fts5 \"\" true",
		"CREATE VIRTUAL TABLE \"using fts4\" USING \"FTS5\"(a, Content = t)": "fts5 \"t\" true",
		"create virtual table t using fts5(a, content=\"the \"\"text\")":     "fts5 \"the \\\"text\" true",
		"create virtual table t using fts5(content, b)":                      "fts5 \"\" false",
		"create virtual table t using fts5(a, content=)":                     "fts5 \"\" true",
		"create virtual table t using rtree(id, a, b)":                       "rtree \"\" false",
		"create table t(a)": " \"\" false",
	} {
		name, args := module(sql)
		value, given := option(args, "content")
		if got := fmt.Sprintf("%s %q %v", name, value, given); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
}

// FuzzTokens proves that any text is taken to its end, and that nothing but blanks and comments is left out.
func FuzzTokens(f *testing.F) {
	for _, sql := range []string{"", "select 'a' -- b", "/*", "/*/", "[", "`", "\"a\"\"", "a\x00\xffb", "--\n--", "'", "''"} {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		list, _ := tokens(sql)
		from := 0
		for _, token := range list {
			at := strings.Index(sql[from:], token)
			if token == "" || at < 0 {
				t.Fatalf("%q has the token %q behind %d", sql, token, from)
			}
			from += at + len(token)
			unquoted(token)
		}
		if _, open := tokens(Ended(sql)); open != "" {
			t.Errorf("%q ends open as %q", sql, Ended(sql))
		}
	})
}
