package repl

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Bounds of the history.
const (
	historyEntries = 1000     // kept from session to session
	historyBytes   = 64 << 10 // of one entry; a longer one is not remembered
)

// historyFormat is the first line of a history file.
const historyFormat = "rsqld-history 1"

// History is what a person typed, oldest first: one entry is one statement or command, of one line or several. Its
// file holds one entry a line as a quoted Go string, so that an entry stays whole; it is readable by its owner only.
// Several shells may append to one file.
type History struct {
	path    string
	entries []string
}

// OpenHistory reads the history of a file, which need not exist yet. An empty path keeps the history in memory.
func OpenHistory(path string) (*History, error) {
	h := &History{path: path}
	if path == "" {
		return h, nil
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return h, h.create()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the history: %w", err)
	}
	defer file.Close()
	lines, err := h.read(bufio.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("reading the history %s: %w", path, err)
	}
	if lines > 2*historyEntries {
		return h, h.rewrite()
	}
	return h, nil
}

// Entries are the entries, oldest first. The caller does not change them.
func (h *History) Entries() []string { return h.entries }

// Add remembers an entry, unless it repeats the one before or is too long.
func (h *History) Add(entry string) error {
	entry = strings.TrimSpace(entry)
	if entry == "" || len(entry) > historyBytes || len(h.entries) > 0 && h.entries[len(h.entries)-1] == entry {
		return nil
	}
	h.keep(entry)
	if h.path == "" {
		return nil
	}
	file, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	_, err = file.WriteString(strconv.Quote(entry) + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the history: %w", err)
	}
	return nil
}

func (h *History) keep(entry string) {
	h.entries = append(h.entries, entry)
	if len(h.entries) > historyEntries {
		h.entries = h.entries[len(h.entries)-historyEntries:]
	}
}

// read reads a history file and returns how many entries it has. A line that is no entry, cut off by a crash perhaps,
// is left out.
func (h *History) read(r *bufio.Reader) (lines int, err error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 8*historyBytes)
	if scanner.Scan() && scanner.Text() != historyFormat {
		return 0, fmt.Errorf("the file begins with %.40q and not with %q: move it away, and a new one is made",
			scanner.Text(), historyFormat)
	}
	for scanner.Scan() {
		lines++
		if entry, err := strconv.Unquote(scanner.Text()); err == nil {
			h.keep(entry)
		}
	}
	return lines, scanner.Err()
}

func (h *History) create() error {
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return fmt.Errorf("making the history's directory: %w", err)
	}
	if err := os.WriteFile(h.path, []byte(historyFormat+"\n"), 0o600); err != nil {
		return fmt.Errorf("making the history: %w", err)
	}
	return nil
}

// rewrite keeps the newest entries only.
func (h *History) rewrite() error {
	var b strings.Builder
	b.WriteString(historyFormat + "\n")
	for _, entry := range h.entries {
		b.WriteString(strconv.Quote(entry) + "\n")
	}
	next := fmt.Sprintf("%s.%d", h.path, os.Getpid())
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("shortening the history: %w", err)
	}
	if err := os.Rename(next, h.path); err != nil {
		return errors.Join(fmt.Errorf("shortening the history: %w", err), os.Remove(next))
	}
	return nil
}
