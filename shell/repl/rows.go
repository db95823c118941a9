package repl

import (
	"bufio"
	"fmt"
	"html"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// The renderers in this file print each row as it arrives and keep none. Errors of the writer stay in the bufio.Writer
// until the shell flushes it.

// separated is csv, tabs and list: values with something between them.
type separated struct {
	layout
	w         *bufio.Writer
	field     func(v any, null string) string
	separator string
}

func (r *separated) begin(columns []Column) {
	if !r.header() {
		return
	}
	for i, column := range columns {
		r.put(i, column.Name)
	}
	r.w.WriteByte('\n')
}

func (r *separated) row(values []any) {
	for i, v := range values {
		r.put(i, v)
	}
	r.w.WriteByte('\n')
}

func (r *separated) put(i int, v any) {
	if i > 0 {
		r.w.WriteString(r.separator)
	}
	r.w.WriteString(r.field(v, r.nullText()))
}

func (r *separated) end() {}

func plainField(v any, null string) string { return plainText(v, null) }

// csvField quotes as RFC 4180 needs it, and the empty text too, so that it is told from NULL. Lines end with a line
// feed alone.
func csvField(v any, null string) string {
	field := plainText(v, null)
	if v == nil {
		return field
	}
	if field == "" || strings.ContainsAny(field, ",\"\r\n") {
		return `"` + strings.ReplaceAll(field, `"`, `""`) + `"`
	}
	return field
}

// jsonRows is json, one array of objects a result, and jsonl, one object a line.
type jsonRows struct {
	w     *bufio.Writer
	array bool
	names [][]byte // each with its colon
	rows  int
	line  []byte
}

func (r *jsonRows) begin(columns []Column) {
	for _, column := range columns {
		r.names = append(r.names, append(appendJSONString(nil, column.Name), ':'))
	}
	if r.array {
		r.w.WriteByte('[')
	}
}

func (r *jsonRows) row(values []any) {
	r.line = r.line[:0]
	if r.array && r.rows > 0 {
		r.line = append(r.line, ",\n"...)
	}
	r.rows++
	r.line = append(r.line, '{')
	for i, v := range values {
		if i > 0 {
			r.line = append(r.line, ',')
		}
		r.line = appendJSON(append(r.line, r.names[i]...), v)
	}
	r.line = append(r.line, '}')
	if !r.array {
		r.line = append(r.line, '\n')
	}
	r.w.Write(r.line)
}

func (r *jsonRows) end() {
	if r.array {
		r.w.WriteString("]\n")
	}
}

// lineRows is line: one value a line, names aligned, an empty line between rows.
type lineRows struct {
	layout
	w     *bufio.Writer
	names []string // padded
	rows  int
}

func (r *lineRows) begin(columns []Column) {
	widest := 5 // as sqlite3 has it
	for _, column := range columns {
		name := visibleText(column.Name, "")
		r.names = append(r.names, name)
		widest = max(widest, text.StringWidthWithoutEscSequences(name))
	}
	for i, name := range r.names {
		r.names[i] = strings.Repeat(" ", widest-text.StringWidthWithoutEscSequences(name)) + name
	}
}

func (r *lineRows) row(values []any) {
	if r.rows > 0 {
		r.w.WriteByte('\n')
	}
	r.rows++
	for i, v := range values {
		fmt.Fprintf(r.w, "%s = %s\n", r.names[i], visibleText(v, r.nullText()))
	}
}

func (r *lineRows) end() {}

// insertRows is insert: statements that make the rows again. NULL is always NULL, or it would not be SQL.
type insertRows struct {
	layout
	w      *bufio.Writer
	prefix string
}

func (r *insertRows) begin(columns []Column) {
	r.prefix = "INSERT INTO " + quoteName(r.table)
	if r.header() {
		names := make([]string, len(columns))
		for i, column := range columns {
			names[i] = quoteName(column.Name)
		}
		r.prefix += "(" + strings.Join(names, ",") + ")"
	}
	r.prefix += " VALUES("
}

func (r *insertRows) row(values []any) {
	r.w.WriteString(r.prefix)
	for i, v := range values {
		if i > 0 {
			r.w.WriteByte(',')
		}
		r.w.WriteString(sqlLiteral(v))
	}
	r.w.WriteString(");\n")
}

func (r *insertRows) end() {}

// markdownRows is markdown: a table as GitHub reads it. It begins with a header line always, because Markdown has no
// table without one; .headers off leaves its names empty.
type markdownRows struct {
	layout
	w *bufio.Writer
}

var markdownEscapes = strings.NewReplacer("|", `\|`, "\\", `\\`, "\n", "<br>", "<", "&lt;", "&", "&amp;")

func (r *markdownRows) begin(columns []Column) {
	names, rules := make([]string, len(columns)), make([]string, len(columns))
	for i, column := range columns {
		if r.header() {
			names[i] = markdownEscapes.Replace(visibleText(column.Name, ""))
		}
		rules[i] = "---"
	}
	r.line(names)
	r.line(rules)
}

func (r *markdownRows) row(values []any) {
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = markdownEscapes.Replace(visibleText(v, r.nullText()))
	}
	r.line(cells)
}

func (r *markdownRows) line(cells []string) {
	fmt.Fprintf(r.w, "| %s |\n", strings.Join(cells, " | "))
}

func (r *markdownRows) end() {}

// htmlRows is html: one table a result.
type htmlRows struct {
	layout
	w *bufio.Writer
}

func (r *htmlRows) begin(columns []Column) {
	r.w.WriteString("<table>\n")
	if !r.header() {
		return
	}
	r.w.WriteString("<tr>")
	for _, column := range columns {
		r.cell("th", column.Name)
	}
	r.w.WriteString("</tr>\n")
}

func (r *htmlRows) row(values []any) {
	r.w.WriteString("<tr>")
	for _, v := range values {
		r.cell("td", v)
	}
	r.w.WriteString("</tr>\n")
}

func (r *htmlRows) cell(tag string, v any) {
	fmt.Fprintf(r.w, "<%s>%s</%s>", tag, html.EscapeString(visibleText(v, r.nullText())), tag)
}

func (r *htmlRows) end() { r.w.WriteString("</table>\n") }
