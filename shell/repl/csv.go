package repl

import (
	"bufio"
	"fmt"
	"io"
)

// maxField is the longest field of an imported file, in bytes. A field that is longer is nearly always a quotation
// mark without its partner.
const maxField = 16 << 20

// csvReader reads records of separated values as sqlite3 does, which is more than RFC 4180 allows: a field that begins
// with a quotation mark runs to the next one that stands before a separator or line end; a single one inside is kept
// as it is, with a warning. A quotation mark further on in a field means itself. Lines end with LF or CRLF. A byte
// order mark at the beginning is left out.
type csvReader struct {
	r         *bufio.Reader
	separator byte
	line      int // of the next byte, from 1
	warn      func(line int, message string)
	field     []byte
	fields    []any
}

func newCSVReader(r io.Reader, separator byte, warn func(int, string)) (*csvReader, error) {
	c := &csvReader{r: bufio.NewReaderSize(r, 64<<10), separator: separator, line: 1, warn: warn}
	if mark, err := c.r.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		if _, err := c.r.Discard(3); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// read returns the fields of the next record, each a string, and the line it begins in. They are valid until the next
// call. The end of the input is io.EOF.
func (c *csvReader) read() (fields []any, line int, err error) {
	line = c.line
	if _, err := c.r.Peek(1); err != nil {
		return nil, line, err
	}
	c.fields = c.fields[:0]
	for {
		last, err := c.readField()
		if err != nil {
			return nil, line, err
		}
		c.fields = append(c.fields, string(c.field))
		if last {
			return c.fields, line, nil
		}
	}
}

// readField reads one field into c.field and reports whether it is the last of its record.
func (c *csvReader) readField() (last bool, err error) {
	c.field = c.field[:0]
	first, err := c.r.ReadByte()
	if err == io.EOF {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if first == '"' {
		return c.readQuoted()
	}
	if err := c.r.UnreadByte(); err != nil {
		return false, err
	}
	for {
		b, err := c.r.ReadByte()
		switch {
		case err == io.EOF:
			return true, nil
		case err != nil:
			return false, err
		case b == c.separator:
			return false, nil
		case b == '\n':
			c.line++
			c.trimCR()
			return true, nil
		}
		if err := c.add(b); err != nil {
			return false, err
		}
	}
}

func (c *csvReader) trimCR() {
	if n := len(c.field); n > 0 && c.field[n-1] == '\r' {
		c.field = c.field[:n-1]
	}
}

func (c *csvReader) add(b byte) error {
	if len(c.field) >= maxField {
		return fmt.Errorf("a field is longer than %d MiB: a quotation mark before it may lack its partner", maxField>>20)
	}
	c.field = append(c.field, b)
	return nil
}

// readQuoted reads a field behind its opening quotation mark.
func (c *csvReader) readQuoted() (last bool, err error) {
	begun := c.line
	for {
		b, err := c.r.ReadByte()
		if err == io.EOF {
			return false, fmt.Errorf("the quoted field that begins here has no closing quotation mark")
		}
		if err != nil {
			return false, err
		}
		if b == '"' {
			ended, last, err := c.closing(begun)
			if err != nil || ended {
				return last, err
			}
			continue
		}
		if b == '\n' {
			c.line++
		}
		if err := c.add(b); err != nil {
			return false, err
		}
	}
}

// closing decides what a quotation mark inside a quoted field means by what follows it.
func (c *csvReader) closing(begun int) (ended, last bool, err error) {
	next, err := c.r.Peek(2)
	if err != nil && err != io.EOF {
		return false, false, err
	}
	used := 1
	switch {
	case len(next) == 0:
		return true, true, nil
	case next[0] == '"':
		_, err = c.r.Discard(1)
		if err == nil {
			err = c.add('"')
		}
		return false, false, err
	case next[0] == c.separator:
		ended = true
	case next[0] == '\n':
		ended, last = true, true
	case next[0] == '\r' && len(next) > 1 && next[1] == '\n':
		ended, last, used = true, true, 2
	case next[0] == '\r' && len(next) == 1:
		ended, last = true, true
	default:
		c.warn(begun, `unescaped " inside a quoted field; it is kept`)
		return false, false, c.add('"')
	}
	if last {
		c.line++
	}
	_, err = c.r.Discard(used)
	return ended, last, err
}
