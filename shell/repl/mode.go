package repl

import (
	"bufio"
	"slices"
)

// Modes are the output modes, as .mode and --format take them.
var Modes = []string{"box", "column", "csv", "html", "insert", "json", "jsonl", "line", "list", "markdown", "table", "tabs"}

// A renderer writes one result. begin is called once, then row for each row, then end; the values of a row are only
// valid during the call.
type renderer interface {
	begin(columns []Column)
	row(values []any)
	end()
}

// layout is what a person has set about output, and what the output is.
type layout struct {
	mode    string
	headers string // "on", "off", or "auto": as the mode likes it
	null    string // how NULL shows; nullUnset: as the mode likes it
	table   string // for mode insert
	color   bool
	width   int // of the terminal in columns; 0: not a terminal, rows are never wrapped
}

// nullUnset is no text that .nullvalue can set.
const nullUnset = "\x00"

// headed modes print a line of column names unless .headers says off.
var headed = []string{"box", "table", "column", "csv", "tabs", "markdown", "html"}

func (l layout) header() bool {
	if l.headers == "auto" {
		return slices.Contains(headed, l.mode)
	}
	return l.headers == "on"
}

// nullText is how NULL shows: as nothing where programs read, and as NULL where it could not be told from ”.
func (l layout) nullText() string {
	if l.null != nullUnset {
		return l.null
	}
	if l.tabular() {
		return "NULL"
	}
	return ""
}

// tabular modes need the widths of rows before they can print the first.
func (l layout) tabular() bool { return l.mode == "box" || l.mode == "table" || l.mode == "column" }

// renderer returns a new renderer of the layout's mode.
func (l layout) renderer(w *bufio.Writer) renderer {
	switch l.mode {
	case "csv":
		return &separated{layout: l, w: w, field: csvField, separator: ","}
	case "tabs":
		return &separated{layout: l, w: w, field: plainField, separator: "\t"}
	case "list":
		return &separated{layout: l, w: w, field: plainField, separator: "|"}
	case "json":
		return &jsonRows{w: w, array: true}
	case "jsonl":
		return &jsonRows{w: w}
	case "line":
		return &lineRows{layout: l, w: w}
	case "insert":
		return &insertRows{layout: l, w: w}
	case "markdown":
		return &markdownRows{layout: l, w: w}
	case "html":
		return &htmlRows{layout: l, w: w}
	case "box", "table", "column":
		return &tableRows{layout: l, w: w}
	default:
		panic("a mode that is not in Modes: " + l.mode)
	}
}
