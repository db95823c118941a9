package sqlite

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// boundedCalls are the functions that BoundedText replaces.
var boundedCalls = []string{"instr(?1, ?2)", "replace(?1, ?2, ?3)", "trim(?1, ?2)", "ltrim(?1, ?2)", "rtrim(?1, ?2)", "unhex(?1, ?2)"}

// call runs a function on a connection and shows what comes.
func call(t testing.TB, c *Conn, function string, args []Value) string {
	t.Helper()
	stmt, _, err := c.Cached("SELECT " + function)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Release()
	for i, arg := range args[:stmt.ParamCount()] {
		if err := stmt.Bind(i+1, arg); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stmt.Step(); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %q %d", stmt.ColumnType(0), stmt.ColumnBytes(0, nil), stmt.ColumnInt64(0))
}

// sameText holds the functions of a connection with BoundedText against SQLite's own.
func sameText(t testing.TB, plain, bounded *Conn, args []Value) {
	t.Helper()
	for _, function := range boundedCalls {
		got, want := call(t, bounded, function, args), call(t, plain, function, args)
		if got != want && !strings.Contains(got, "is not UTF-8") {
			t.Errorf("%s of %+v: got %s, want %s", function, args, got, want)
		}
	}
}

// textPieces are what arguments are made of: characters of each length, what is none, digits, borders of needles.
var textPieces = []string{"a", "ab", "aab", "é", "日", "😀", "\x80", "\xc3", "\xc3\xa9\xa9", "\xff", "\xed\xa0\x80", "\xc0\x80", "\x00", " ", "1f", "Aa", "-", strings.Repeat("ab", 20), strings.Repeat("a", 33)}

// The functions of BoundedText give what SQLite's own give, whatever the arguments are: numbers, blobs, NULL, no UTF-8.
func TestTextIsSQLites(t *testing.T) {
	plain, bounded := memory(t), mustOpen(t, ":memory:", Options{Create: true, BoundedText: true})
	random := rand.New(rand.NewPCG(7, 7))
	value := func() Value {
		var b []byte
		for range random.IntN(6) {
			b = append(b, textPieces[random.IntN(len(textPieces))]...)
		}
		switch random.IntN(20) {
		case 0:
			return Value{}
		case 1:
			return Value{Type: Integer, Int: random.Int64N(200)}
		case 2:
			return Value{Type: Float, Float: float64(random.IntN(50)) / 4}
		case 3, 4, 5:
			return Value{Type: Blob, Bytes: b}
		}
		return Value{Type: Text, Bytes: b}
	}
	rounds := 20_000
	if testing.Short() {
		rounds = 2000
	}
	for range rounds {
		first := value()
		second := value()
		if random.IntN(3) == 0 && len(first.Bytes) > 0 { // a part of the first
			from := random.IntN(len(first.Bytes))
			second.Type, second.Bytes = Text, first.Bytes[from:from+1+random.IntN(len(first.Bytes)-from)]
		}
		sameText(t, plain, bounded, []Value{first, second, value()})
		if t.Failed() {
			return
		}
	}
}

// FuzzText is TestTextIsSQLites with other arguments.
func FuzzText(f *testing.F) {
	plain, bounded := memory(f), mustOpen(f, ":memory:", Options{Create: true, BoundedText: true})
	f.Add([]byte("hello world"), []byte("o"), []byte("0"), false)
	f.Add([]byte(strings.Repeat("ab", 60)+"c"), []byte(strings.Repeat("ab", 30)), []byte(""), false)
	f.Add([]byte("日\x80é"), []byte("\x80"), []byte("é"), true)
	f.Add([]byte("48-65 6c"), []byte("- "), []byte(""), false)
	f.Fuzz(func(t *testing.T, first, second, third []byte, blob bool) {
		kind := Text
		if blob {
			kind = Blob
		}
		sameText(t, plain, bounded, []Value{{Type: kind, Bytes: first}, {Type: Text, Bytes: second}, {Type: Text, Bytes: third}})
	})
}

// A call whose arguments are made to be compared again and again ends; SQLite's own functions need hours for each of these.
func TestTextIsBounded(t *testing.T) {
	c := mustOpen(t, ":memory:", Options{Create: true, BoundedText: true})
	const size = 4 << 20
	as, bs := strings.Repeat("a", size), strings.Repeat("b", size)
	for function, args := range map[string][2]string{
		"instr(?1, ?2)":         {as, as[:size/2] + "b"},
		"replace(?1, ?2, '')":   {as, as[:size/2] + "b"},
		"trim(?1, ?2)":          {as + "x" + as, bs + "a"},
		"length(ltrim(?1, ?2))": {as, bs + "a"},
		"length(rtrim(?1, ?2))": {as, bs + "a"},
		"length(unhex(?1, ?2))": {strings.Repeat("z", size), strings.Repeat("y", size) + "z"},
	} {
		got := call(t, c, function, []Value{{Type: Text, Bytes: []byte(args[0])}, {Type: Text, Bytes: []byte(args[1])}})
		if strings.HasPrefix(function, "replace") {
			if !strings.Contains(got, as) {
				t.Errorf("%s: %.60s", function, got)
			}
			continue
		}
		want := map[bool]string{true: `3 "x" 0`, false: `1 "0" 0`}[function == "trim(?1, ?2)"]
		if got != want {
			t.Errorf("%s: got %.60s, want %s", function, got, want)
		}
	}
	if got := call(t, c, "trim(?1, ?2)", []Value{{Type: Text, Bytes: []byte("x")}, {Type: Text, Bytes: []byte("\xc0\x80\x80\x80\x80")}}); !strings.Contains(got, "is not UTF-8") {
		t.Errorf("a character of five bytes: %s", got)
	}
}
