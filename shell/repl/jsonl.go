package repl

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// jsonReader reads one JSON object a line. Empty lines are left out.
type jsonReader struct {
	r       *bufio.Reader
	line    int // of the next line, from 1
	columns []string
	index   map[string]int
}

func newJSONReader(r io.Reader) *jsonReader {
	return &jsonReader{r: bufio.NewReaderSize(r, 64<<10), line: 1}
}

// object reads the next object's members in their order.
func (j *jsonReader) object() (names []string, values []any, line int, err error) {
	for {
		line = j.line
		text, err := readLine(j.r)
		if err != nil && (err != io.EOF || text == "") {
			return nil, nil, line, err
		}
		j.line++
		if trimmed := bytes.TrimSpace([]byte(text)); len(trimmed) > 0 {
			names, values, err := parseObject(trimmed)
			return names, values, line, err
		}
	}
}

// setColumns fixes the order of the values that read returns.
func (j *jsonReader) setColumns(columns []string) {
	j.columns, j.index = columns, map[string]int{}
	for i, column := range columns {
		j.index[column] = i
	}
}

// read returns the values of the next object in the order of the columns; what it does not have is NULL.
func (j *jsonReader) read() (values []any, line int, err error) {
	names, found, line, err := j.object()
	if err != nil {
		return nil, line, err
	}
	values, err = j.arrange(names, found)
	return values, line, err
}

func (j *jsonReader) arrange(names []string, found []any) ([]any, error) {
	values := make([]any, len(j.columns))
	for i, name := range names {
		at, known := j.index[name]
		if !known {
			if near := Nearest(name, j.columns); near != "" {
				return nil, fmt.Errorf("there is no column %q; did you mean %q?", name, near)
			}
			return nil, fmt.Errorf("there is no column %q", name)
		}
		values[at] = found[i]
	}
	return values, nil
}

func parseObject(line []byte) (names []string, values []any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	token, err := decoder.Token()
	if err == nil && token != json.Delim('{') {
		return nil, nil, errors.New("a line must hold one JSON object, as in {\"name\": \"value\"}")
	}
	for err == nil && decoder.More() {
		if token, err = decoder.Token(); err != nil {
			break
		}
		var raw json.RawMessage
		if err = decoder.Decode(&raw); err != nil {
			break
		}
		var value any
		value, err = jsonValue(raw)
		names, values = append(names, token.(string)), append(values, value)
	}
	if err == nil {
		_, err = decoder.Token()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the line is not a JSON object: %w", err)
	}
	if rest := bytes.TrimSpace(line[decoder.InputOffset():]); len(rest) > 0 {
		return nil, nil, fmt.Errorf("something follows the JSON object: %.20q", rest)
	}
	return names, values, nil
}

// jsonValue is the SQL value of a JSON one: integers are exact or refused, true and false are 1 and 0, and arrays and
// objects are their own text.
func jsonValue(raw json.RawMessage) (any, error) {
	switch raw[0] {
	case 'n':
		return nil, nil
	case 't':
		return int64(1), nil
	case 'f':
		return int64(0), nil
	case '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return text, err
	case '[', '{':
		return string(raw), nil
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !bytes.ContainsAny(raw, ".eE") {
		return nil, fmt.Errorf("the number %.40s does not fit into 64 bits: write it as text", raw)
	}
	return f, nil
}
