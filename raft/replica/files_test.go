package replica_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/rsqld/rsqld/raft/wal"
)

// files is a disk in memory. It can stall and it can fail; what was written survives the replica.
type files struct {
	mu    sync.Mutex
	named map[string]*content
	// gate, if not nil, holds up every Sync until it is closed.
	gate chan struct{}
	// failing, if not nil, is what every Sync answers.
	failing error
	// full makes every write that would make a file larger fail.
	full bool
}

type content struct{ bytes []byte }

func newFiles() *files { return &files{named: make(map[string]*content)} }

// stall holds up the disk until the function that it returns is called.
func (d *files) stall() (resume func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gate = make(chan struct{})
	return d.resume
}

// resume ends a stall, if there is one.
func (d *files) resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate != nil {
		close(d.gate)
		d.gate = nil
	}
}

func (d *files) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = err
}

// fill leaves the disk without a free byte, or gives it room again.
func (d *files) fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *files) Open(name string, flag int) (wal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name = clean(name)
	c := d.named[name]
	switch {
	case c == nil && flag&os.O_CREATE == 0:
		return nil, fmt.Errorf("opening %q: %w", name, fs.ErrNotExist)
	case c != nil && flag&os.O_EXCL != 0:
		return nil, fmt.Errorf("opening %q: %w", name, fs.ErrExist)
	case c == nil:
		c = &content{}
		d.named[name] = c
	case flag&os.O_TRUNC != 0:
		c.bytes = nil
	}
	return &file{d, c}, nil
}

func clean(name string) string { return path.Clean(strings.ReplaceAll(name, "\\", "/")) }

func (d *files) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.named[clean(name)] == nil {
		return fmt.Errorf("removing %q: %w", name, fs.ErrNotExist)
	}
	delete(d.named, clean(name))
	return nil
}

func (d *files) Rename(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.named[clean(old)]
	if c == nil {
		return fmt.Errorf("renaming %q: %w", old, fs.ErrNotExist)
	}
	delete(d.named, clean(old))
	d.named[clean(new)] = c
	return nil
}

func (d *files) List(dir string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.named {
		if path.Dir(name) == clean(dir) {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

func (d *files) MkdirAll(string) error { return nil }
func (d *files) SyncDir(string) error  { return nil }

type file struct {
	disk *files
	*content
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.bytes)) {
		return 0, io.EOF
	}
	n := copy(p, f.bytes[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.full && off+int64(len(p)) > int64(len(f.bytes)) {
		return 0, syscall.ENOSPC
	}
	f.resize(max(off+int64(len(p)), int64(len(f.bytes))))
	return copy(f.bytes[off:], p), nil
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.full && size > int64(len(f.bytes)) {
		return syscall.ENOSPC
	}
	f.resize(size)
	return nil
}

func (f *file) resize(size int64) {
	if more := size - int64(len(f.bytes)); more > 0 {
		f.bytes = append(f.bytes, make([]byte, more)...)
	}
	f.bytes = f.bytes[:size]
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	gate, err := f.disk.gate, f.disk.failing
	f.disk.mu.Unlock()
	if gate != nil {
		<-gate
	}
	return err
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.bytes)), nil
}

func (f *file) Close() error { return nil }

var errIO = errors.New("input/output error")
