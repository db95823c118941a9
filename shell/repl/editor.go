package repl

import (
	"errors"
	"strings"

	"github.com/peterh/liner"
)

// lineEnd stands for a line end in a recalled entry of several lines, since the editor edits one line. It is turned
// back when the line is entered, unless no entry of the history has several lines.
const lineEnd = "␤"

// Terminal is the Editor of a real terminal, which must be standard input and output.
type Terminal struct {
	liner    *liner.State
	history  *History
	recalled bool // an entry that the person can recall holds lineEnd
}

// NewTerminal takes the terminal over until Close. Complete is asked when the person presses Tab.
func NewTerminal(history *History, complete func(line string, pos int) (head string, completions []string, tail string)) *Terminal {
	t := &Terminal{liner: liner.NewLiner(), history: history}
	t.liner.SetCtrlCAborts(true)
	t.liner.SetMultiLineMode(true)
	t.liner.SetTabCompletionStyle(liner.TabPrints)
	t.liner.SetWordCompleter(complete)
	for _, entry := range history.Entries() {
		t.offer(entry)
	}
	return t
}

func (t *Terminal) offer(entry string) {
	t.recalled = t.recalled || strings.Contains(entry, "\n")
	t.liner.AppendHistory(strings.ReplaceAll(entry, "\n", lineEnd))
}

// Prompt reads a line.
func (t *Terminal) Prompt(prompt string) (string, error) {
	line, err := t.liner.Prompt(prompt)
	if errors.Is(err, liner.ErrPromptAborted) {
		return "", ErrAborted
	}
	if t.recalled {
		line = strings.ReplaceAll(line, lineEnd, "\n")
	}
	return line, err
}

// Remember adds to the history and its file.
func (t *Terminal) Remember(entry string) error {
	entry = strings.TrimSpace(entry)
	if entry != "" && len(entry) <= historyBytes {
		t.offer(entry)
	}
	return t.history.Add(entry)
}

// Close gives the terminal back as it was.
func (t *Terminal) Close() error { return t.liner.Close() }
