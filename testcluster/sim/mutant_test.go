package sim

import (
	"errors"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMutantsApply proves: every mutant still is an edit of the source, whose result is Go.
func TestMutantsApply(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	mutants, err := Mutants("testdata/mutants")
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 20 {
		t.Errorf("there are only %d mutants", len(mutants))
	}
	for _, m := range mutants {
		files, err := m.Apply(root)
		if err != nil {
			t.Error(err)
		}
		for name, text := range files {
			if _, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", m.Name, err)
			}
		}
	}
}

// TestMutantFormat proves: a mutant that is not whole is refused, an edit must be of whole lines that occur once, and two
// edits of one file both count.
func TestMutantFormat(t *testing.T) {
	const head = "bug: this\ncaught by: that\n"
	for _, text := range []string{
		"",
		head,
		"bug: this\n-- a.go --\nx\n-- becomes --\ny\n",
		head + "-- a.go --\nx\n-- becomes --\nx\n",
		head + "-- becomes --\nx\n",
		head + "-- a.go --\nx\n-- becomes --\ny\n-- becomes --\nz\n",
		head + "other: x\n-- a.go --\nx\n-- becomes --\ny\n",
	} {
		if m, err := parseMutant("m", text); !errors.Is(err, ErrMutant) {
			t.Errorf("%q became %+v, %v", text, m, err)
		}
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte("one\ntwo\nthree\ntwo\nfour\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for edits, want := range map[string]string{
		"-- a.go --\nthree\n-- becomes --\n3\n-- a.go --\none\n-- becomes --\n": "two\n3\ntwo\nfour\n",
		"-- a.go --\ntwo\n-- becomes --\n2\n":                                   "",
		"-- a.go --\nhree\n-- becomes --\n2\n":                                  "",
		"-- b.go --\ntwo\n-- becomes --\n2\n":                                   "",
	} {
		m, err := parseMutant("m", head+"# nothing\n"+edits)
		if err != nil {
			t.Fatal(err)
		}
		files, err := m.Apply(root)
		if want == "" && !errors.Is(err, ErrMutant) || want != "" && files["a.go"] != want {
			t.Errorf("%q made %q, %v", edits, files, err)
		}
		if want == "" {
			continue
		}
		list, err := m.Overlay(root, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(list)
		if names := slices.Collect(maps.Keys(files)); err != nil || len(names) != 1 || !strings.Contains(string(text), "a.go") {
			t.Errorf("the list is %s, %v", text, err)
		}
	}
}
