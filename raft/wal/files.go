package wal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Files is the log's only door to the disk, so that tests and a simulator can stand behind it. Its methods are called by
// several goroutines at a time. Names are paths that begin with Options.Dir.
type Files interface {
	// Open opens a file for reading and writing. flag is zero or os.O_CREATE|os.O_TRUNC; without os.O_CREATE the file
	// must exist. The caller closes the file.
	Open(name string, flag int) (File, error)
	// Remove deletes a file that is not open. A name that is not there is an error that is fs.ErrNotExist.
	Remove(name string) error
	// Rename gives a file that is not open another name, in one step, in place of what has that name.
	Rename(old, new string) error
	// List returns the names in a directory, without the directory.
	List(dir string) ([]string, error)
	// MkdirAll makes a directory, and those that it is in, unless it exists.
	MkdirAll(dir string) error
	// SyncDir makes durable which names are in a directory and which are not there any more.
	SyncDir(dir string) error
}

// File is one open file. ReadAt and WriteAt are those of io, and go on beside one another. After an error of WriteAt or
// Sync nothing is assumed about the content.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Truncate sets the size in bytes; what is new reads as zeros.
	Truncate(int64) error
	// Sync makes content and size durable, whoever wrote it: also a process that was killed.
	Sync() error
	// Size returns the size in bytes.
	Size() (int64, error)
	Close() error
}

// OS returns the operating system's files: readable by their owner alone, synced with fdatasync on Linux and with the
// strongest sync elsewhere.
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
