package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Limits of the rows of one statement in a transaction.
const (
	// spoolMemory is how many bytes of rows are kept in memory; more go to a file.
	spoolMemory = 1 << 20
	// MaxSpoolBytes is how many bytes of rows one statement in a transaction may return (sql.max_spool).
	MaxSpoolBytes = 1 << 30
	// spoolPattern is what such a file is called. None outlives the process that made it.
	spoolPattern = "spool-*"
)

// Spool holds the rows of one statement of a transaction. No statement may stay open on the connection that changes the
// database, so that all of its rows are fetched before the client gets the first.
type Spool struct {
	dir string
	// rows are packed as package wire describes, each after its length as a uvarint: those in memory follow those in file.
	rows []byte
	file *os.File
	// written is the length of file.
	written int64
}

// keep appends the row that stmt stands on.
func (s *Spool) keep(stmt *sqlite.Stmt, columns int, scratch []byte) ([]byte, error) {
	scratch = appendRow(scratch[:0], stmt, columns)
	s.rows = binary.AppendUvarint(s.rows, uint64(len(scratch)))
	s.rows = append(s.rows, scratch...)
	if s.written+int64(len(s.rows)) > MaxSpoolBytes {
		return scratch, &LimitError{"sql.max_spool", MaxSpoolBytes, "bytes of rows of one statement in a transaction"}
	}
	if len(s.rows) < spoolMemory {
		return scratch, nil
	}
	return scratch, s.spill()
}

// spill moves the rows in memory to the file.
func (s *Spool) spill() error {
	if s.file == nil {
		file, err := os.CreateTemp(s.dir, spoolPattern)
		if err != nil {
			return fmt.Errorf("keeping the rows of a statement: %w", err)
		}
		s.file = file
	}
	n, err := s.file.Write(s.rows)
	s.written += int64(n)
	s.rows = s.rows[:0]
	if err != nil {
		return fmt.Errorf("keeping the rows of a statement: %w", err)
	}
	return nil
}

// Each calls row for each row in order; the bytes are valid until it returns. Its error ends the loop.
func (s *Spool) Each(row func(packed []byte) error) error {
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("reading the rows of a statement: %w", err)
		}
		if err := eachIn(bufio.NewReaderSize(s.file, bufferBytes), row); err != nil {
			return err
		}
	}
	for rest := s.rows; len(rest) > 0; {
		length, n := binary.Uvarint(rest)
		if err := row(rest[n : n+int(length)]); err != nil {
			return err
		}
		rest = rest[n+int(length):]
	}
	return nil
}

func eachIn(r *bufio.Reader, row func(packed []byte) error) error {
	var packed []byte
	for {
		length, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			if uint64(cap(packed)) < length {
				packed = make([]byte, length)
			}
			packed = packed[:length]
			_, err = io.ReadFull(r, packed)
		}
		if err != nil {
			return fmt.Errorf("reading the rows of a statement: %w", err)
		}
		if err := row(packed); err != nil {
			return err
		}
	}
}

// Close gives the file back, if there is one.
func (s *Spool) Close() error {
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), os.Remove(s.file.Name()))
	s.file = nil
	if err != nil {
		return fmt.Errorf("removing the rows of a statement: %w", err)
	}
	return nil
}

// removeSpools removes what a process that was killed has left.
func removeSpools(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, spoolPattern))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
