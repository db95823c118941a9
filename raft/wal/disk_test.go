package wal_test

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rsqld/rsqld/raft/wal"
)

const sector = 512

// disk is a wal.Files in memory that loses at a crash what was not synced: any subset of the sectors written since the
// last sync of a file, its growth, and any names made, changed or removed since the last sync of their directory.
type disk struct {
	mu      sync.Mutex
	chance  *rand.Rand
	live    map[string]*inode // names as a running process sees them
	durable map[string]*inode // names that survive
	// fault is asked before every operation that changes something, with the base of the name.
	fault func(op, name string) error
}

// inode is a file's content.
type inode struct {
	live    []byte
	durable []byte
	dirty   map[int]bool // sectors written since the last sync
}

func newDisk(seed uint64) *disk {
	return &disk{chance: rand.New(rand.NewPCG(seed, 7)), live: map[string]*inode{}, durable: map[string]*inode{}}
}

// crash is a loss of power: it returns what a new process finds.
func (d *disk) crash() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk(d.chance.Uint64())
	names := maps.Clone(d.durable)
	for name := range d.durable { // so may a removal
		if d.live[name] == nil && d.chance.IntN(2) == 0 {
			delete(names, name)
		}
	}
	for name, node := range d.live { // a name may have become durable without being asked to
		if d.chance.IntN(2) == 0 {
			for other, same := range names {
				if same == node {
					delete(names, other)
				}
			}
			names[name] = node
		}
	}
	for name, node := range names {
		size := len(node.live)
		if len(node.durable) != size && d.chance.IntN(2) == 0 {
			size = len(node.durable)
		}
		content := make([]byte, max(size, len(node.live)))
		copy(content, node.durable)
		for s := range node.dirty {
			if d.chance.IntN(2) == 0 {
				end := min((s+1)*sector, len(node.live))
				copy(content[min(s*sector, end):end], node.live[min(s*sector, end):end])
			}
		}
		content = content[:size]
		found := &inode{live: content, durable: slices.Clone(content), dirty: map[int]bool{}}
		after.live[name], after.durable[name] = found, found
	}
	return after
}

// set changes fault.
func (d *disk) set(fault func(op, name string) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = fault
}

// failOn makes one operation fail, on all names that contain part.
func (d *disk) failOn(op, part string) {
	d.set(func(what, name string) error {
		if what == op && strings.Contains(name, part) {
			return errDisk
		}
		return nil
	})
}

// dieAfter lets n more operations through and none after them: the process is dead. The function that is returned says
// how many were asked for.
func (d *disk) dieAfter(n int) (asked func() int) {
	count := 0
	d.set(func(string, string) error {
		if count++; count > n {
			return errDisk
		}
		return nil
	})
	return func() int {
		d.mu.Lock()
		defer d.mu.Unlock()
		return count
	}
}

func (d *disk) check(op, name string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op, filepath.Base(name))
}

func (d *disk) Open(name string, flag int) (wal.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if flag&os.O_CREATE != 0 {
		if err := d.check("open", name); err != nil {
			return nil, err
		}
	}
	node := d.live[name]
	if node == nil {
		if flag&os.O_CREATE == 0 {
			return nil, fs.ErrNotExist
		}
		node = &inode{dirty: map[int]bool{}}
		d.live[name] = node
	}
	if flag&os.O_TRUNC != 0 {
		node.live = nil
		for s := 0; s*sector < len(node.durable); s++ {
			node.dirty[s] = true
		}
	}
	return &file{disk: d, node: node, name: name}, nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check("remove", name); err != nil {
		return err
	}
	if d.live[name] == nil {
		return fs.ErrNotExist
	}
	delete(d.live, name)
	return nil
}

func (d *disk) Rename(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check("rename", new); err != nil {
		return err
	}
	if d.live[old] == nil {
		return fs.ErrNotExist
	}
	d.live[new] = d.live[old]
	delete(d.live, old)
	return nil
}

func (d *disk) List(dir string) (names []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.live {
		if filepath.Dir(name) == dir {
			names = append(names, filepath.Base(name))
		}
	}
	slices.Sort(names)
	return names, nil
}

func (d *disk) MkdirAll(string) error { return nil }

func (d *disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.check("syncdir", dir); err != nil {
		return err
	}
	maps.DeleteFunc(d.durable, func(name string, _ *inode) bool { return filepath.Dir(name) == dir })
	for name, node := range d.live {
		if filepath.Dir(name) == dir {
			d.durable[name] = node
		}
	}
	return nil
}

// bytes returns the size of the files whose names end in suffix.
func (d *disk) bytes(suffix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, node := range d.live {
		if strings.HasSuffix(name, suffix) {
			n += len(node.live)
		}
	}
	return n
}

// holds reports whether there is a file of that base name.
func (d *disk) holds(base string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.live {
		if filepath.Base(name) == base {
			return true
		}
	}
	return false
}

// segments returns the names of the log's segments, sorted.
func (d *disk) segments() (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range d.live {
		if strings.HasSuffix(name, ".wal") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

type file struct {
	disk   *disk
	node   *inode
	name   string
	closed bool
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(f.node.live)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.live[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.check("write", f.name); err != nil {
		return 0, err
	}
	if need := int(off) + len(p); need > len(f.node.live) {
		f.node.live = append(f.node.live, make([]byte, need-len(f.node.live))...)
	}
	copy(f.node.live[off:], p)
	for s := int(off) / sector; s*sector < int(off)+len(p); s++ {
		f.node.dirty[s] = true
	}
	return len(p), nil
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.check("truncate", f.name); err != nil {
		return err
	}
	if int(size) <= len(f.node.live) {
		f.node.live = f.node.live[:size]
	} else {
		f.node.live = append(f.node.live, make([]byte, int(size)-len(f.node.live))...)
	}
	return nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.check("sync", f.name); err != nil {
		if f.disk.chance.IntN(2) == 0 { // as Linux does: readable still, and never written unless it is written again
			clear(f.node.dirty)
		}
		return err
	}
	n := f.node
	n.durable = append(n.durable, make([]byte, max(0, len(n.live)-len(n.durable)))...)[:len(n.live)]
	for s := range n.dirty {
		end := min((s+1)*sector, len(n.live))
		copy(n.durable[min(s*sector, end):end], n.live[min(s*sector, end):end])
	}
	clear(n.dirty)
	return nil
}

func (f *file) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.live)), nil
}

func (f *file) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}

var errDisk = errors.New("input/output error")
