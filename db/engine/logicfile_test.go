package engine

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A logic file is in the format of SQLite's sqllogictest (https://sqlite.org/sqllogictest/doc/trunk/about.wiki): records
// split by empty lines, each of which is a statement that succeeds or fails, a query with its rows, or an order to the
// runner:
//
//	# a comment
//	skipif rsqld                        this record is not for the engine of that name
//	statement error no such table: x    how the error begins; nothing: any error
//	select * from x
//
//	query ITR rowsort x                 types of the columns, how the values are sorted, a label
//	select a, b, c from t
//	----
//	1 one 1.000                         a row, its values split by a tab, or one value a line
//
//	hash-threshold 8                    more values than these are written as "N values hashing to MD5"
//
//	halt                                the end
//
// Queries with the same label have the same rows. An integer is written by I, a number with three digits by R and
// anything as text by T; NULL is NULL, an empty text is (empty), and what is no printable ASCII is @.
type logicFile struct {
	path    string
	records []*logicRecord
}

// logicRecord is one record.
type logicRecord struct {
	// head are the comments and conditions, command the first line of the record itself and body its SQL.
	head    []string
	command []string
	body    []string
	// want are the lines behind "----", and wants says that there is such a line.
	want  []string
	wants bool
	line  int
}

func readLogicFile(t testing.TB, path string) *logicFile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := &logicFile{path: path}
	lines := strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		begin := i
		for i < len(lines) && strings.TrimSpace(lines[i]) != "" {
			i++
		}
		if i > begin {
			file.records = append(file.records, parseLogicRecord(lines[begin:i], begin+1))
		}
	}
	return file
}

func parseLogicRecord(lines []string, line int) *logicRecord {
	r := &logicRecord{line: line}
	for _, text := range lines {
		word, _, _ := strings.Cut(text, " ")
		switch {
		case r.wants:
			r.want = append(r.want, text)
		case r.command == nil && (text[0] == '#' || word == "skipif" || word == "onlyif"):
			r.head = append(r.head, text)
		case r.command == nil:
			r.command = strings.Fields(text)
		case text == "----":
			r.wants = true
		default:
			r.body = append(r.body, text)
		}
	}
	return r
}

// isFor reports whether an engine with these names has to do with the record.
func (r *logicRecord) isFor(names ...string) bool {
	for _, line := range r.head {
		fields := strings.Fields(line)
		if fields[0] == "skipif" && slices.Contains(names, fields[1]) || fields[0] == "onlyif" && !slices.Contains(names, fields[1]) {
			return false
		}
	}
	return true
}

// kind is the first word of the record, empty for a comment alone.
func (r *logicRecord) kind() string { return r.argument(0) }

func (r *logicRecord) argument(i int) string {
	if i < len(r.command) {
		return r.command[i]
	}
	return ""
}

func (r *logicRecord) sql() string { return strings.Join(r.body, "\n") }

// fails is how the error of a statement begins; expected says that there is one.
func (r *logicRecord) fails() (begins string, expected bool) {
	if r.argument(1) != "error" {
		return "", false
	}
	return strings.Join(r.command[2:], " "), true
}

// write writes the file as its records are now.
func (f *logicFile) write() error {
	var text strings.Builder
	for i, r := range f.records {
		if i > 0 {
			text.WriteString("\n")
		}
		lines := slices.Clone(r.head)
		if r.command != nil {
			lines = append(lines, strings.Join(r.command, " "))
		}
		lines = append(lines, r.body...)
		if r.wants {
			lines = append(append(lines, "----"), r.want...)
		}
		text.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return os.WriteFile(f.path, []byte(text.String()), 0o644)
}

// logicRows are the rows of a query.
type logicRows struct {
	columns int
	packed  []string // each row as it is sent
	rows    [][]any
}

// values are those of the rows as the record has them written and sorted, row by row.
func (r *logicRecord) values(got logicRows) [][]string {
	all := make([][]string, len(got.rows))
	types := r.argument(1)
	for i, row := range got.rows {
		for j, value := range row {
			kind := byte('T')
			if j < len(types) {
				kind = types[j]
			}
			all[i] = append(all[i], logicValue(kind, value))
		}
	}
	switch r.argument(2) {
	case "rowsort":
		slices.SortFunc(all, slices.Compare[[]string])
	case "valuesort":
		flat := slices.Sorted(slices.Values(slices.Concat(all...)))
		all = slices.Collect(slices.Chunk(flat, max(1, got.columns)))
	}
	return all
}

// logicLines are values as a file has them.
func logicLines(values [][]string, threshold int) []string {
	flat := slices.Concat(values...)
	if threshold > 0 && len(flat) > threshold {
		return []string{logicHash(flat)}
	}
	lines := make([]string, len(values))
	for i, row := range values {
		lines[i] = strings.Join(row, "\t")
	}
	return lines
}

func logicHash(flat []string) string {
	hash := md5.Sum([]byte(strings.Join(flat, "\n") + "\n"))
	return fmt.Sprintf("%d values hashing to %s", len(flat), hex.EncodeToString(hash[:]))
}

// agrees reports whether values are those that the record wants: row by row, value by value or as a hash.
func (r *logicRecord) agrees(values [][]string) bool {
	flat := slices.Concat(values...)
	if len(r.want) == 1 && len(flat) > 0 && strings.Contains(r.want[0], " values hashing to ") {
		return r.want[0] == logicHash(flat)
	}
	return slices.Equal(r.want, logicLines(values, 0)) || slices.Equal(r.want, flat)
}

var (
	unprintable   = regexp.MustCompile(`[^ -~]`)
	integerPrefix = regexp.MustCompile(`^\s*[+-]?[0-9]+`)
	numberPrefix  = regexp.MustCompile(`^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?`)
)

// logicValue writes one value by I, R or T.
func logicValue(kind byte, value any) string {
	if value == nil {
		return "NULL"
	}
	switch kind {
	case 'I':
		return strconv.FormatInt(asInteger(value), 10)
	case 'R':
		return strconv.FormatFloat(asReal(value), 'f', 3, 64)
	}
	var text string
	switch v := value.(type) {
	case []byte:
		text = string(v)
	case float64:
		if text = strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+"); !strings.ContainsAny(text, ".eI") {
			text += ".0"
		}
	default:
		text = fmt.Sprint(v)
	}
	if text == "" {
		return "(empty)"
	}
	return unprintable.ReplaceAllString(text, "@")
}

// asInteger is a value as SQLite's CAST makes it an integer.
func asInteger(value any) int64 {
	switch v := value.(type) {
	case int64:
		return v
	case float64:
		switch {
		case v >= math.MaxInt64:
			return math.MaxInt64
		case v <= math.MinInt64:
			return math.MinInt64
		}
		return int64(v)
	}
	// Out of range, ParseInt gives the nearest integer, as SQLite does.
	n, _ := strconv.ParseInt(strings.TrimSpace(integerPrefix.FindString(textOf(value))), 10, 64)
	return n
}

// asReal is a value as SQLite's CAST makes it a real.
func asReal(value any) float64 {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	// No number is zero, and one too large is infinite, as ParseFloat gives them beside its error.
	x, _ := strconv.ParseFloat(strings.TrimSpace(numberPrefix.FindString(textOf(value))), 64)
	return x
}

func textOf(value any) string {
	if blob, is := value.([]byte); is {
		return string(blob)
	}
	return fmt.Sprint(value)
}
