package testcluster

import (
	"errors"
	"sync"
	"syscall"

	"github.com/rsqld/rsqld/raft/wal"
)

// Disk is the file system that a node's log is on: the operating system's files, until it is told to stall, to be full or
// to fail.
type Disk struct {
	wal.Files

	mu sync.Mutex // guards what follows
	// gate, if not nil, holds up everything that changes a file until it is closed.
	gate chan struct{}
	// full says that no file grows; failing is what every sync answers.
	full    bool
	failing error
}

func newDisk() *Disk { return &Disk{Files: wal.OS()} }

// Stall holds up every write and sync until Resume.
func (d *Disk) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate == nil {
		d.gate = make(chan struct{})
	}
}

// Resume ends a stall, if there is one.
func (d *Disk) Resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gate != nil {
		close(d.gate)
		d.gate = nil
	}
}

// Fill leaves the disk without a free block, or gives it room again.
func (d *Disk) Fill(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

// ErrBroken is what a disk says that was told to fail.
var ErrBroken = errors.New("the disk is broken")

// Fail makes every sync fail from now on with ErrBroken.
func (d *Disk) Fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failing = ErrBroken
}

// Open implements wal.Files.
func (d *Disk) Open(name string, flag int) (wal.File, error) {
	file, err := d.Files.Open(name, flag)
	if err != nil {
		return nil, err
	}
	return &diskFile{file, d}, nil
}

// pass waits for the end of a stall and returns the faults of the moment.
func (d *Disk) pass() (full bool, failing error) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full, d.failing
}

// diskFile is a file of a Disk.
type diskFile struct {
	wal.File
	disk *Disk
}

// WriteAt implements wal.File. On a full disk it fails where it would make the file larger.
func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if full, _ := f.disk.pass(); full {
		size, err := f.Size()
		if err != nil {
			return 0, err
		}
		if off+int64(len(p)) > size {
			return 0, syscall.ENOSPC
		}
	}
	return f.File.WriteAt(p, off)
}

// Sync implements wal.File.
func (f *diskFile) Sync() error {
	if _, failing := f.disk.pass(); failing != nil {
		return failing
	}
	return f.File.Sync()
}
