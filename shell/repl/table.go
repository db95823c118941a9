package repl

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// chunkRows is how many rows box, table and column measure at once. A longer result is printed as several tables, each
// with its header, so that memory stays bounded and the first rows appear early.
const chunkRows = 2000

// chunkBytes is how many bytes of text a chunk may hold before it is printed, however few its rows are.
const chunkBytes = 8 << 20

// DefaultMaxBytes is how many bytes of text one answer may have in the modes box, table and column, which people read.
// .maxbytes sets another limit. The other modes have none.
const DefaultMaxBytes = 64 << 20

// answerTooLong says that an answer was cut off at a limit of the shell.
func answerTooLong(mode string, limit int64) error {
	return fmt.Errorf("too_large: more than %d bytes in one answer, the shell's limit in mode %s: "+
		"use .mode csv, list or jsonl, which have none, add a LIMIT, or raise it by .maxbytes", limit, mode)
}

// minWrap is the width in columns below which a column is not wrapped to make a table fit the terminal.
const minWrap = 12

// tableRows is box, table and column.
type tableRows struct {
	layout
	w       *bufio.Writer
	columns []Column
	chunk   []table.Row
	bytes   int    // of the chunk's text
	total   int64  // of the text of all rows
	numbers []bool // column i of the chunk holds numbers and NULLs only
	chunks  int
}

func (r *tableRows) begin(columns []Column) {
	r.columns = columns
	r.reset()
}

func (r *tableRows) reset() {
	r.chunk, r.bytes = r.chunk[:0], 0
	r.numbers = make([]bool, len(r.columns))
	for i := range r.numbers {
		r.numbers[i] = true
	}
}

func (r *tableRows) row(values []any) {
	row := make(table.Row, len(values))
	for i, v := range values {
		shown := r.cell(v)
		row[i] = shown
		r.bytes += len(shown)
		r.total += int64(len(shown))
		switch v.(type) {
		case nil, int64, float64:
		default:
			r.numbers[i] = false
		}
	}
	r.chunk = append(r.chunk, row)
	if len(r.chunk) >= chunkRows || r.bytes >= chunkBytes {
		r.print()
	}
}

func (r *tableRows) cell(v any) string {
	shown := strings.ReplaceAll(visibleText(v, r.nullText()), "\t", "    ")
	if v == nil && r.color && shown != "" {
		return text.Faint.Sprint(shown)
	}
	return shown
}

func (r *tableRows) end() {
	if len(r.chunk) > 0 || r.chunks == 0 {
		r.print()
	}
}

// print writes the chunk as one table. Numbers stand to the right.
func (r *tableRows) print() {
	t := table.NewWriter()
	t.SetStyle(tableStyle(r.mode))
	if r.mode == "column" {
		t.SuppressTrailingSpaces()
	}
	header := make(table.Row, len(r.columns))
	configs := make([]table.ColumnConfig, len(r.columns))
	widths := r.widths()
	for i, column := range r.columns {
		header[i] = visibleText(column.Name, "")
		configs[i] = table.ColumnConfig{Number: i + 1, WidthMax: widths[i], WidthMaxEnforcer: text.WrapText}
		if r.numbers[i] {
			configs[i].Align, configs[i].AlignHeader = text.AlignRight, text.AlignRight
		}
	}
	t.SetColumnConfigs(configs)
	if r.header() {
		t.AppendHeader(header)
	}
	t.AppendRows(r.chunk)
	if rendered := t.Render(); rendered != "" {
		r.w.WriteString(rendered)
		r.w.WriteByte('\n')
	}
	r.chunks++
	r.reset()
}

func tableStyle(mode string) table.Style {
	style := table.StyleRounded
	switch mode {
	case "table":
		style = table.StyleDefault
	case "column":
		style = table.StyleDefault
		style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
		style.Box.MiddleSeparator = "-"
		style.Options = table.OptionsNoBorders
		style.Options.SeparateHeader = true
		style.Options.SeparateColumns = false
	}
	style.Format.Header, style.Format.Row = text.FormatDefault, text.FormatDefault
	return style
}

// widths gives each column at most so many terminal columns that the table fits the terminal, taking from the widest;
// 0 is without a limit.
func (r *tableRows) widths() []int {
	limits := make([]int, len(r.columns))
	if r.width <= 0 {
		return limits
	}
	natural, total := make([]int, len(r.columns)), 1
	for i, column := range r.columns {
		natural[i] = text.LongestLineLen(column.Name)
		for _, row := range r.chunk {
			natural[i] = max(natural[i], text.LongestLineLen(row[i].(string)))
		}
		total += natural[i] + 3
	}
	for total > r.width {
		widest := 0
		for i := range natural {
			if natural[i] > natural[widest] {
				widest = i
			}
		}
		if natural[widest] <= minWrap {
			break
		}
		cut := min(total-r.width, max(1, (natural[widest]-minWrap)/2))
		natural[widest] -= cut
		total -= cut
		limits[widest] = natural[widest]
	}
	return limits
}
