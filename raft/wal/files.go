package wal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Files is the log's only door to the disk, so that tests and a simulator can stand behind it.
type Files interface {
	// Open opens or, with os.O_CREATE, makes a file for reading and writing.
	Open(name string, flag int) (File, error)
	Remove(name string) error
	Rename(old, new string) error
	// List returns the names in a directory, sorted.
	List(dir string) ([]string, error)
	MkdirAll(dir string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
}

// File is one open file. ReadAt and WriteAt are those of io.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(int64) error
	// Sync makes content and size durable.
	Sync() error
	Size() (int64, error)
	Close() error
}

// OS returns the operating system's files.
func OS() Files { return osFiles{} }

type osFiles struct{}

func (osFiles) Open(name string, flag int) (File, error) {
	file, err := os.OpenFile(name, flag|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{file}, nil
}

func (osFiles) Remove(name string) error     { return os.Remove(name) }
func (osFiles) Rename(old, new string) error { return os.Rename(old, new) }
func (osFiles) MkdirAll(dir string) error    { return os.MkdirAll(dir, 0o700) }

func (osFiles) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name()
	}
	return names, nil
}

func (osFiles) SyncDir(dir string) error {
	file, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	return errors.Join(syncDir(file), file.Close())
}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncFile(f.File) }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
