package repl

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// readAll returns all records, each as strings, and the warnings.
func readAll(t testing.TB, text string) (records [][]string, warnings []string, err error) {
	t.Helper()
	reader, err := newCSVReader(strings.NewReader(text), ',', func(line int, message string) {
		warnings = append(warnings, fmt.Sprintf("%d: %s", line, message))
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		fields, line, err := reader.read()
		if err == io.EOF {
			return records, warnings, nil
		}
		if err != nil {
			return records, warnings, fmt.Errorf("%d: %w", line, err)
		}
		record := make([]string, len(fields))
		for i, field := range fields {
			record[i] = field.(string)
		}
		records = append(records, record)
	}
}

// TestCSV proves that records are read as sqlite3 reads them.
func TestCSV(t *testing.T) {
	for _, c := range []struct {
		in   string
		want [][]string
	}{
		{"", nil},
		{"\n", [][]string{{""}}},
		{"a", [][]string{{"a"}}},
		{"a,b\n", [][]string{{"a", "b"}}},
		{"a,\n", [][]string{{"a", ""}}},
		{"a,", [][]string{{"a", ""}}},
		{",,\r\n,", [][]string{{"", "", ""}, {"", ""}}},
		{"\ufeffa,b\r\nc,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}},
		{"\ufeff\"a\",b", [][]string{{"a", "b"}}},
		{"a\rb,c", [][]string{{"a\rb", "c"}}},
		{`"a,b","c""d",""` + "\n", [][]string{{"a,b", `c"d`, ""}}},
		{"\"a\r\nb\",c\r\nd", [][]string{{"a\r\nb", "c"}, {"d"}}},
		{`a"b"c, "d"`, [][]string{{`a"b"c`, ` "d"`}}},
		{`"a"b",c`, [][]string{{`a"b`, "c"}}},
		{"\"a\"\r", [][]string{{"a"}}},
		{"\"a\"\"\"", [][]string{{`a"`}}},
		{"日本,Zürich\x00\xff", [][]string{{"日本", "Zürich\x00\xff"}}},
	} {
		got, _, err := readAll(t, c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q is read as %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

// TestCSVErrors proves that a field without end is refused with the line where it begins.
func TestCSVErrors(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb,\"c\nd\n":                       "2: the quoted field",
		"a\n\n" + strings.Repeat("x", 17<<20): "3: a field is longer than 16 MiB",
		"\"" + strings.Repeat("x\n", 9<<20):   "1: a field is longer than 16 MiB",
	} {
		if _, _, err := readAll(t, in); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.20q gives %v, want %q", in, err, want)
		}
	}
}

// FuzzCSV proves that every file ends in records or an error, and that what encoding/csv reads without complaint is
// read alike.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\n\"c\"\"d\",\"e\nf\"\r\n", "\"a\"b\",c", "\"", "\ufeff\"\"\"\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _, err := readAll(t, text)
		strict := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
		strict.FieldsPerRecord = -1
		want, bad := strict.ReadAll()
		if bad != nil || strings.Contains(text, "\r") { // encoding/csv changes CRLF inside fields
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		filled := got[:0]
		for _, record := range got { // encoding/csv leaves empty lines out
			if len(record) > 1 || record[0] != "" || strings.Contains(text, `""`) {
				filled = append(filled, record)
			}
		}
		if !strings.Contains(text, `""`) && fmt.Sprintf("%q", filled) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q is read as %q, encoding/csv has %q", text, filled, want)
		}
	})
}

// FuzzJSONLine proves that every line ends in an object or an error.
func FuzzJSONLine(f *testing.F) {
	for _, seed := range []string{`{"a":1,"b":[1,{"c":null}],"c":true}`, `{"a":}`, `[`, `{"a":1}x`, `{"a":1e999}`, `{"a":-0}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		names, values, err := parseObject([]byte(line))
		if err == nil && len(names) != len(values) {
			t.Fatalf("%q has %d names and %d values", line, len(names), len(values))
		}
		for _, v := range values {
			plainText(v, "") // panics on a value that SQLite does not have
		}
	})
}
