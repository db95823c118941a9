package driver

import (
	"strings"
	"testing"
)

// A text that begins or ends a transaction and does nothing else is known in all its forms, and no other is.
func TestParseControl(t *testing.T) {
	for text, want := range map[string]controlKind{
		"begin": controlBegin, "BEGIN;": controlBegin, " begin transaction ; ;": controlBegin, "Begin Deferred": controlBegin,
		"begin/* now */immediate -- x\n transaction;": controlBegin, "begin exclusive": controlBegin,
		"commit": controlCommit, "END": controlCommit, "end transaction": controlCommit, "commit transaction;": controlCommit,
		"rollback": controlRollback, "rollback transaction; -- done": controlRollback, "/* a */ rollback /* b": controlRollback,
		"": controlNone, ";": controlNone, "begin concurrent": controlNone, "begin; insert into t values(1)": controlNone, "begins": controlNone,
		"rollback to a": controlNone, "rollback transaction to savepoint a": controlNone, "commit transaction transaction": controlNone,
		"end if": controlNone, "savepoint a": controlNone, "select 'begin'": controlNone, "'begin'": controlNone, "begin_": controlNone, "commit 1": controlNone,
		"; begin": controlNone, "begin immediate deferred": controlNone, "begin é": controlNone,
	} {
		if got := parseControl(text); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

// What is taken for one is nothing but its words.
func FuzzParseControl(f *testing.F) {
	for _, seed := range []string{"begin immediate transaction;", "END", "rollback -- x", "/**/commit", "begin; x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if parseControl(text) == controlNone {
			return
		}
		for rest := text; ; {
			word, after := nextWord(rest)
			if word == "" {
				break
			}
			if !strings.Contains(" BEGIN DEFERRED IMMEDIATE EXCLUSIVE TRANSACTION COMMIT END ROLLBACK ; ", " "+word+" ") {
				t.Errorf("%q holds %q", text, word)
			}
			rest = after
		}
	})
}
