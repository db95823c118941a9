package repl

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// Bounds of one INSERT of an import. The first that is reached ends it; each INSERT is one log entry, all or nothing.
const (
	importRows   = 500
	importBytes  = 256 << 10
	importParams = 30_000 // SQLite takes 32,766 in one statement
)

// importWarnings is how many warnings about lines are printed; the rest are counted.
const importWarnings = 10

func importCommands() []Command {
	return []Command{{
		".import", "[--csv|--tabs|--jsonl] [--skip N] FILE TABLE",
		"load a file, gzipped or not; an absent TABLE is made from the header line, into another one every line is data",
		2, -1, dotImport,
	}}
}

// importOrder is what the arguments of .import say.
type importOrder struct {
	format      string // "csv", "tabs" or "jsonl"
	skip        int64  // records to leave out at the beginning
	path, table string
}

var importFlags = []string{"--csv", "--tabs", "--jsonl", "--skip"}

func parseImport(args []string) (order importOrder, err error) {
	var rest []string
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") || args[i] == "-" {
			rest = append(rest, args[i])
			continue
		}
		flag, value, valued := strings.Cut("--"+strings.TrimLeft(args[i], "-"), "=")
		if flag != "--skip" {
			if err := oneOf("option", flag, importFlags); err != nil {
				return order, err
			}
			order.format = flag[2:]
			continue
		}
		if !valued {
			if i++; i == len(args) {
				return order, errors.New("--skip needs a number of lines")
			}
			value = args[i]
		}
		if order.skip, err = strconv.ParseInt(value, 10, 64); err != nil || order.skip < 0 {
			return order, fmt.Errorf("--skip %q is no number of lines", value)
		}
	}
	if len(rest) != 2 {
		return order, fmt.Errorf("usage: .import %s", importCommands()[0].Usage)
	}
	order.path, order.table = rest[0], rest[1]
	if order.format == "" {
		order.format = formatOf(order.path)
	}
	return order, nil
}

// formatOf is the format that a file's name tells of; csv if it tells of none.
func formatOf(path string) string {
	switch strings.ToLower(filepath.Ext(strings.TrimSuffix(path, ".gz"))) {
	case ".tsv", ".tab":
		return "tabs"
	case ".jsonl", ".ndjson":
		return "jsonl"
	}
	return "csv"
}

func dotImport(ctx context.Context, s *Shell, args []string) error {
	order, err := parseImport(args)
	if err != nil {
		return err
	}
	file, err := os.Open(order.path)
	if err != nil {
		return fmt.Errorf("reading the file to import: %w", err)
	}
	defer file.Close()
	stat, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading the file to import: %w", err)
	}
	bytes := &countingReader{Reader: file}
	text, err := gunzipped(bytes)
	if err != nil {
		return fmt.Errorf("reading %s: %w", order.path, err)
	}
	m := &importer{importOrder: order, shell: s, bytes: bytes}
	m.progress = newProgress(s.Stderr, s.Live, s.Now, "importing "+order.table, stat.Size())
	return m.run(ctx, text)
}

// countingReader counts the bytes read from a file, before they are decompressed.
type countingReader struct {
	io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// gunzipped decompresses what begins like a gzip file and leaves everything else as it is.
func gunzipped(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if magic, err := buffered.Peek(2); err != nil || string(magic) != "\x1f\x8b" {
		return buffered, nil // a file too short for the mark is a short text; other errors come back at the next read
	}
	return gzip.NewReader(buffered)
}

// position is where a row of the file begins.
type position struct {
	line   int
	record int64 // from 1, header and skipped ones counted
}

// importer loads one file. Memory stays bounded by one batch and one record. Rows are sent in the order of the file,
// each batch as one INSERT, so that what is loaded is always the beginning of the file.
type importer struct {
	importOrder
	shell    *Shell
	bytes    *countingReader
	progress *progress

	read    func() (values []any, line int, err error) // the next record
	columns []string
	at      position // of the record read last

	args   []any // of the batch, row after row
	rows   []position
	size   int    // bytes in args
	sql    string // INSERT for sqlRows rows
	sqlFor int

	loaded   int64
	done     int64 // record loaded last, or left out on purpose before anything was loaded
	warnings int
}

func (m *importer) run(ctx context.Context, text io.Reader) error {
	err := m.prepare(ctx, text)
	if err == nil {
		err = m.load(ctx)
	}
	m.progress.clear()
	if m.warnings > importWarnings {
		fmt.Fprintf(m.shell.Stderr, "%d more warnings of this kind\n", m.warnings-importWarnings)
	}
	if m.columns != nil {
		m.progress.close("imported", m.loaded, "into "+m.table)
	}
	if err != nil && m.loaded > 0 {
		fmt.Fprintf(m.shell.Stderr, "the rest of %s is not loaded: to go on behind what is, use --skip %d\n", m.path, m.done)
	}
	return err
}

// prepare skips, opens the reader of the format, and finds or makes the table.
func (m *importer) prepare(ctx context.Context, text io.Reader) (err error) {
	var objects *jsonReader
	switch m.format {
	case "jsonl":
		objects = newJSONReader(text)
		m.read = objects.read
		objects.setColumns(nil)
	default:
		separator := map[string]byte{"csv": ',', "tabs": '\t'}[m.format]
		records, err := newCSVReader(text, separator, m.warn)
		if err != nil {
			return fmt.Errorf("reading %s: %w", m.path, err)
		}
		m.read = records.read
	}
	if err := m.leaveOut(objects); err != nil {
		return err
	}
	columns, err := m.tableColumns(ctx)
	if err != nil {
		return fmt.Errorf("reading the columns of table %s: %w", m.table, err)
	}
	switch {
	case objects != nil:
		return m.prepareObjects(ctx, objects, columns)
	case len(columns) > 0:
		m.columns = columns
		return nil
	default:
		return m.prepareHeader(ctx)
	}
}

// leaveOut reads over the records of --skip.
func (m *importer) leaveOut(objects *jsonReader) error {
	for range m.skip {
		var line int
		var err error
		if objects != nil {
			_, _, line, err = objects.object()
		} else {
			_, line, err = m.read()
		}
		if err != nil && err != io.EOF {
			return m.failure(position{line, m.at.record + 1}, err)
		}
		if err == io.EOF {
			return nil
		}
		m.at = position{line, m.at.record + 1}
	}
	m.done = m.at.record
	return nil
}

// tableColumns are the columns that a row gives values for; none if there is no table. They are read at level strong:
// what is decided by them is a write.
func (m *importer) tableColumns(ctx context.Context) (columns []string, err error) {
	err = m.shell.query(ctx, "strong", func(row []any) { columns = append(columns, plainText(row[0], "")) },
		"SELECT name FROM pragma_table_info(?1)", m.table)
	return columns, err
}

// prepareHeader makes the table from the header line. Its columns have type TEXT, so that 007 stays 007.
func (m *importer) prepareHeader(ctx context.Context) error {
	header, line, err := m.read()
	if err == io.EOF {
		return fmt.Errorf("%s has no header line to make table %s from", m.path, m.table)
	}
	m.at = position{line, m.at.record + 1}
	if err != nil {
		return m.failure(m.at, err)
	}
	m.done = m.at.record
	names := make([]string, len(header))
	for i, name := range header {
		names[i] = name.(string)
	}
	columns, renamed := columnNames(names)
	if len(renamed) > 0 {
		fmt.Fprintf(m.shell.Stderr, "columns renamed: %s\n", strings.Join(renamed, ", "))
	}
	return m.create(ctx, columns, " TEXT")
}

// prepareObjects makes the table from the first object if need be. Its columns have no type: every value stays what
// it is in JSON.
func (m *importer) prepareObjects(ctx context.Context, objects *jsonReader, columns []string) error {
	names, values, line, err := objects.object()
	if err == io.EOF {
		return fmt.Errorf("%s holds no object", m.path)
	}
	m.at = position{line, m.at.record + 1}
	if err != nil {
		return m.failure(m.at, err)
	}
	if len(columns) == 0 {
		if len(names) == 0 {
			return m.failure(m.at, errors.New("an object without members makes no table"))
		}
		if err := m.create(ctx, names, ""); err != nil {
			return err
		}
		columns = names
	}
	m.columns = columns
	objects.setColumns(columns)
	first, err := objects.arrange(names, values)
	if err != nil {
		return m.failure(m.at, err)
	}
	m.add(first)
	return nil
}

func (m *importer) create(ctx context.Context, columns []string, kind string) error {
	defined := make([]string, len(columns))
	for i, column := range columns {
		defined[i] = quoteName(column) + kind
	}
	sql := fmt.Sprintf("CREATE TABLE %s(%s)", quoteName(m.table), strings.Join(defined, ", "))
	m.shell.schema.stale = true
	if err := m.shell.write(ctx, sql, nil); err != nil {
		return fmt.Errorf("making table %s: %w", m.table, err)
	}
	m.columns = columns
	return nil
}

// columnNames makes names of a header line usable as columns, as sqlite3 does: an empty one becomes ?, and equal ones
// get numbers.
func columnNames(header []string) (columns, renamed []string) {
	count, seen := map[string]int{}, map[string]int{}
	for i, name := range header {
		if name == "" {
			header[i] = "?"
		}
		count[strings.ToLower(header[i])]++
	}
	columns = slices.Clone(header)
	for i, name := range header {
		lower := strings.ToLower(name)
		if count[lower] < 2 {
			continue
		}
		mark := "_"
		seen[lower]++
		for columns[i] = fmt.Sprint(name, mark, seen[lower]); count[strings.ToLower(columns[i])] > 0; mark += "_" {
			columns[i] = fmt.Sprint(name, mark+"_", seen[lower])
		}
		renamed = append(renamed, fmt.Sprintf("%q to %q", name, columns[i]))
	}
	return columns, renamed
}

// load reads to the end and sends batch after batch.
func (m *importer) load(ctx context.Context) error {
	for {
		values, line, err := m.read()
		if err == io.EOF {
			return m.flush(ctx)
		}
		m.at = position{line, m.at.record + 1}
		if err != nil {
			if sent := m.flush(ctx); sent != nil {
				return sent
			}
			return m.failure(m.at, err)
		}
		if row, ok := m.fit(values); ok {
			m.add(row)
		}
		if m.full() {
			if err := m.flush(ctx); err != nil {
				return err
			}
			m.progress.update(m.bytes.n.Load(), m.loaded)
		}
	}
}

// fit gives a row as many values as the table has columns, as sqlite3 does. An empty line is no row of a table with
// several columns.
func (m *importer) fit(values []any) ([]any, bool) {
	n := len(m.columns)
	switch {
	case len(values) == n:
		if m.at.record == 1 && m.isHeader(values) {
			m.warn(m.at.line, "the line repeats the names of the columns; it is loaded as data, --skip 1 leaves it out")
		}
	case len(values) == 1 && values[0] == "":
		m.warn(m.at.line, "the line is empty; it is left out")
		return nil, false
	case len(values) < n:
		m.warn(m.at.line, fmt.Sprintf("expected %d columns but found %d - filling the rest with NULL", n, len(values)))
		for len(values) < n {
			values = append(values, nil)
		}
	default:
		m.warn(m.at.line, fmt.Sprintf("expected %d columns but found %d - extras ignored", n, len(values)))
		values = values[:n]
	}
	return values, true
}

func (m *importer) isHeader(values []any) bool {
	for i, v := range values {
		if name, ok := v.(string); !ok || !strings.EqualFold(name, m.columns[i]) {
			return false
		}
	}
	return true
}

func (m *importer) add(values []any) {
	m.args = append(m.args, values...)
	m.rows = append(m.rows, m.at)
	for _, v := range values {
		m.size += 8
		if text, ok := v.(string); ok {
			m.size += len(text)
		}
	}
}

func (m *importer) full() bool {
	return len(m.rows) >= importRows || m.size >= importBytes || len(m.args)+len(m.columns) > importParams
}

func (m *importer) flush(ctx context.Context) error {
	if len(m.rows) == 0 {
		return nil
	}
	err := m.insert(ctx, m.args, m.rows)
	clear(m.args)
	m.args, m.rows, m.size = m.args[:0], m.rows[:0], 0
	return err
}

// insert sends rows as one INSERT. If the cluster refuses them for what they are, it sends the halves, until the row
// at fault is known and everything before it is loaded.
func (m *importer) insert(ctx context.Context, args []any, rows []position) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := m.shell.write(ctx, m.insertSQL(len(rows)), args)
	if err == nil {
		m.loaded += int64(len(rows))
		m.done = rows[len(rows)-1].record
		return nil
	}
	var refused *Error
	if !errors.As(err, &refused) || refused.Class != ClassSQL && refused.Class != ClassTooLarge || len(rows) == 1 {
		return m.failure(rows[0], err)
	}
	half := len(rows) / 2
	if err := m.insert(ctx, args[:half*len(m.columns)], rows[:half]); err != nil {
		return err
	}
	return m.insert(ctx, args[half*len(m.columns):], rows[half:])
}

// insertSQL is the INSERT for n rows. Full batches have the same text, which every node has prepared already.
func (m *importer) insertSQL(n int) string {
	if m.sqlFor == n {
		return m.sql
	}
	names := make([]string, len(m.columns))
	for i, column := range m.columns {
		names[i] = quoteName(column)
	}
	row := "(" + strings.Repeat("?,", len(m.columns)-1) + "?)"
	m.sqlFor = n
	m.sql = fmt.Sprintf("INSERT INTO %s(%s) VALUES%s%s", quoteName(m.table), strings.Join(names, ","),
		strings.Repeat(row+",", n-1), row)
	return m.sql
}

// failure names the line of an error.
func (m *importer) failure(at position, err error) error {
	return fmt.Errorf("%s:%d: %w", m.path, at.line, err)
}

func (m *importer) warn(line int, message string) {
	if m.warnings++; m.warnings <= importWarnings {
		m.progress.clear()
		fmt.Fprintf(m.shell.Stderr, "%s:%d: %s\n", m.path, line, message)
	}
}
