package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rsqld/rsqld/raft/wal"
)

// The directory of a database holds one or more generations of it and a pointer to the one in use:
//
//	<dir>/current          the number of the generation in use, as text
//	<dir>/<n>/main.sqlite  that generation, with main.sqlite-wal beside it while it is open
//
// A new generation (the first one, or one that a snapshot brought) is complete and durable before the pointer names it.
// The pointer is replaced by a rename and a sync of the directory, so that a crash leaves either the old or the new.
const (
	currentName    = "current"
	fileName       = "main.sqlite"
	firstNumber    = 1
	directoryPerm  = 0o700
	currentMaxSize = 32
)

// generation is one generation of the database.
type generation struct {
	dir    string // that of all generations
	number int
}

func (g generation) path() string { return filepath.Join(g.dir, strconv.Itoa(g.number)) }
func (g generation) file() string { return filepath.Join(g.path(), fileName) }

// findGeneration returns the generation in use. Without a pointer it is the first one, not begun or not finished: new
// is true, and the caller calls commit once it is whole.
func findGeneration(dir string) (g generation, isNew bool, err error) {
	g = generation{dir, firstNumber}
	text, err := readCurrent(filepath.Join(dir, currentName))
	switch {
	case err == nil:
		g.number, err = parseCurrent(text)
		if err != nil {
			return g, false, fmt.Errorf("reading %s: %w", filepath.Join(dir, currentName), err)
		}
		if _, err := os.Stat(g.file()); err != nil {
			return g, false, fmt.Errorf("opening generation %d, which %s names: %w", g.number, currentName, err)
		}
		return g, false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return g, false, fmt.Errorf("reading which generation is in use: %w", err)
	}
	return g, true, g.checkFirst()
}

// checkFirst refuses to take the first generation for a new one where there are others: then the pointer was lost.
func (g generation) checkFirst() error {
	entries, err := os.ReadDir(g.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for a database: %w", err)
	}
	for _, entry := range entries {
		if number, err := strconv.Atoi(entry.Name()); err == nil && number != firstNumber {
			return fmt.Errorf("%s holds generation %d and no file %q that says which one is in use: restore that file", g.dir, number, currentName)
		}
	}
	return nil
}

func readCurrent(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text := make([]byte, currentMaxSize)
	n, err := file.Read(text)
	if err != nil && n == 0 {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	return string(text[:n]), nil
}

func parseCurrent(text string) (int, error) {
	line, ended := strings.CutSuffix(text, "\n")
	number, err := strconv.Atoi(line)
	if !ended || err != nil || number < firstNumber {
		return 0, fmt.Errorf("%q is not the number of a generation on a line", text)
	}
	return number, nil
}

// next is the generation that a snapshot brings after g.
func (g generation) next() generation { return generation{g.dir, g.number + 1} }

// salvage moves the file of the next generation, which a crash has left unfinished, to a path in the directory of snapshots:
// what arrived need not come again.
func (g generation) salvage(path string) error {
	err := os.Rename(g.next().file(), path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("salvaging generation %d, which was not finished: %w", g.next().number, err)
	}
	return nil
}

// removeOthers removes what is left of generations that are not in use: one that was replaced, or one that was never
// finished.
func (g generation) removeOthers() error {
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		return fmt.Errorf("looking for old generations: %w", err)
	}
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err != nil || number == g.number {
			continue
		}
		if err := os.RemoveAll(filepath.Join(g.dir, entry.Name())); err != nil {
			return fmt.Errorf("removing generation %d, which is not in use: %w", number, err)
		}
	}
	return nil
}

// begin makes the directory of the generation.
func (g generation) begin() error {
	if err := os.MkdirAll(g.path(), directoryPerm); err != nil {
		return fmt.Errorf("making generation %d: %w", g.number, err)
	}
	return nil
}

// commit makes the generation the one in use. Its file must be whole; commit makes it durable, then its name, then the
// pointer, and that before it returns: the log may forget what led here.
func (g generation) commit(files wal.Files) error {
	steps := []func() error{
		func() error { return syncFile(files, g.file()) },
		func() error { return files.SyncDir(g.path()) },
		func() error { return files.SyncDir(g.dir) },
		func() error { return g.point(files) },
		func() error { return files.SyncDir(g.dir) },
		func() error { return files.SyncDir(filepath.Dir(g.dir)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("making generation %d the one in use: %w", g.number, err)
		}
	}
	return nil
}

// point replaces the pointer. It is durable once the directory was synced.
func (g generation) point(files wal.Files) error {
	path := filepath.Join(g.dir, currentName)
	file, err := files.Open(path+".new", os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(strconv.Itoa(g.number)+"\n"), 0)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return files.Rename(path+".new", path)
}

func syncFile(files wal.Files, path string) error {
	file, err := files.Open(path, 0)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
