package repl

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestRealText proves that reals look as SQLite's do and lose nothing.
func TestRealText(t *testing.T) {
	for f, want := range map[float64]string{
		0: "0.0", 1: "1.0", -1.5: "-1.5", 0.1: "0.1", 1e14: "100000000000000.0", 1e15: "1.0e+15", 1.5e300: "1.5e+300",
		0.0001: "0.0001", 0.00001: "1.0e-05", math.MaxFloat64: "1.7976931348623157e+308", math.Inf(1): "Inf", math.Inf(-1): "-Inf",
		123456789.125: "123456789.125",
	} {
		if got := realText(f); got != want {
			t.Errorf("%g is shown as %q, want %q", f, got, want)
		}
		back, err := strconv.ParseFloat(realText(f), 64)
		if err != nil || back != f {
			t.Errorf("%q reads back as %g, %v", realText(f), back, err)
		}
	}
}

// FuzzJSON proves that any text becomes JSON that reads back as the same text, bytes that are not UTF-8 aside.
func FuzzJSON(f *testing.F) {
	f.Add("a\"b\\c\x00\x1f\x7f\u2028é\xff")
	f.Fuzz(func(t *testing.T, text string) {
		var back string
		if err := json.Unmarshal(appendJSON(nil, text), &back); err != nil {
			t.Fatal(err)
		}
		if want := strings.ToValidUTF8(text, "\ufffd"); utf8.ValidString(text) && back != want {
			t.Fatalf("%q reads back as %q", text, back)
		}
	})
}

// TestVisibleText proves that nothing a row holds can steer a terminal.
func TestVisibleText(t *testing.T) {
	var all strings.Builder
	for r := range rune(0x2070) {
		all.WriteRune(r)
	}
	for _, r := range visibleText(all.String(), "") {
		if steers(r) {
			t.Errorf("%U is shown as it is", r)
		}
	}
	if got := visibleText("a\xffb", ""); got != "a\ufffdb" {
		t.Errorf("bytes that are no text are shown as %q", got)
	}
}

// TestNearest proves that a slip of the finger is recognised and another word is not.
func TestNearest(t *testing.T) {
	names := []string{"--join", "--listen", "--data", "--name", "--token"}
	for word, want := range map[string]string{
		"--jion": "--join", "--JOIN": "--join", "--lissten": "--listen", "--dta": "--data", "--zebra": "", "--jo": "", "": "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q is taken for %q, want %q", word, got, want)
		}
	}
}

// TestDistance proves the counting of single changes.
func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "abc", 0}, {"abc", "ab", 1}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"abc", "bca", 2},
		{"kitten", "sitting", 3}, {"abc", "", 3}, {"abcdefghijkl", "", 9},
	} {
		if got := distance(c.a, c.b, 9); got != c.want {
			t.Errorf("from %q to %q are %d changes, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a, 9); got != c.want {
			t.Errorf("from %q to %q are %d changes, want %d", c.b, c.a, got, c.want)
		}
	}
}
