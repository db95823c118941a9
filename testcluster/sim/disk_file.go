package sim

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// inode is a file, or a directory.
type inode struct {
	dir *directory // nil for a file

	// content is what processes read, in whole sectors; what is behind size is zero.
	content []byte
	size    int

	// undo says how content differs from the platter: what each write since the last sync has replaced, oldest first,
	// with the bytes in saved. Most writes are synced at once: to forget them costs nothing, and one copy of what they
	// replaced, which is as long as they are, is what they cost.
	undo  []extent
	saved []byte
	// sizes are those before each change since the last sync, oldest first.
	sizes []int

	// stale holds by number the sectors that can be read, are not on the platter, and are not to be written any more,
	// as they are on the platter: what a failed sync has dropped. nil but for that.
	stale map[int][]byte
	// bad are the sectors that cannot be read.
	bad map[int]bool
	// newest is what the newest sync has written.
	newest []extent

	// seen is the number of the crash that resolved this file.
	seen uint64
}

// extent is a part of a file that was written: the bytes off … end-1, in the sectors from … to-1 (as offsets). What was
// in those sectors before is in saved at at; at < 0: zeros, behind the end of the file.
type extent struct {
	off, end, from, to, at int
}

func extentOf(off, end int) extent {
	return extent{off: off, end: end, from: off - off%sector, to: roundUp(end)}
}

func roundUp(n int) int { return (n + sector - 1) / sector * sector }

func (n *inode) clean() bool { return len(n.undo) == 0 && len(n.sizes) == 0 }

// before returns what the extent's sectors held before it was written.
func (n *inode) before(e extent) []byte {
	if e.at < 0 {
		return make([]byte, e.to-e.from)
	}
	return n.saved[e.at : e.at+e.to-e.from]
}

// save notes what a write of off … end-1 is about to replace.
func (n *inode) save(off, end int) {
	e := extentOf(off, end)
	if e.from >= roundUp(n.size) {
		e.at = -1
	} else {
		e.at = len(n.saved)
		n.saved = append(n.saved, n.content[e.from:min(e.to, len(n.content))]...)
		n.saved = append(n.saved, make([]byte, e.to-e.from-(len(n.saved)-e.at))...)
	}
	n.undo = append(n.undo, e)
	if len(n.stale)+len(n.bad) == 0 {
		return
	}
	for s := e.from; s < e.to; s += sector {
		if old := n.stale[s]; old != nil && e.at >= 0 {
			copy(n.saved[e.at+s-e.from:], old)
		}
		delete(n.stale, s)
		delete(n.bad, s)
	}
}

// write changes the content. The process may read it at once; it is not durable.
func (n *inode) write(d *Disk, p []byte, off int) {
	if len(p) == 0 {
		return
	}
	if n.clean() {
		d.unsynced++
	}
	end := off + len(p)
	n.save(off, end)
	n.grow(end)
	copy(n.content[off:], p)
	if end > n.size {
		n.resize(d, end)
	}
}

// truncate changes the size, not durably.
func (n *inode) truncate(d *Disk, size int) {
	if size == n.size {
		return
	}
	if n.clean() {
		d.unsynced++
	}
	if size < n.size {
		n.save(size, n.size)
		clear(n.content[size:])
	}
	n.grow(size)
	n.resize(d, size)
}

func (n *inode) grow(size int) {
	if need := roundUp(size); need > len(n.content) {
		n.content = append(n.content, make([]byte, need-len(n.content))...)
	}
}

func (n *inode) resize(d *Disk, size int) {
	n.sizes = append(n.sizes, n.size)
	d.used += size - n.size
	n.size = size
}

// settle makes everything durable.
func (n *inode) settle(d *Disk) {
	if n.clean() {
		return
	}
	d.unsynced--
	if len(n.undo) > 0 {
		n.newest = append(n.newest[:0], n.undo...)
		for _, e := range n.undo {
			d.remember(n, e)
		}
	}
	n.undo, n.saved, n.sizes = n.undo[:0], n.saved[:0], n.sizes[:0]
}

// forget is a sync that fails: the platter has some of the sectors, and none of the others will be written. Sizes belong
// to the file system's own journal, and wait for the next sync.
func (n *inode) forget(d *Disk) {
	platter := n.resolve(d, d.odds(), 0)
	for _, e := range n.undo {
		for s := e.from; s < e.to && s < len(n.content); s += sector {
			if old := platter[s : s+sector]; string(old) != string(n.content[s:s+sector]) {
				if n.stale == nil {
					n.stale = map[int][]byte{}
				}
				n.stale[s] = slices.Clone(old)
			}
		}
	}
	n.undo, n.saved = n.undo[:0], n.saved[:0]
	if n.clean() {
		d.unsynced--
	}
}

// file is an open file of one process. It implements wal.File.
type file struct {
	disk   *Disk
	node   *inode
	life   uint64
	closed bool
}

func (f *file) alive() error {
	switch {
	case f.life != f.disk.life || f.disk.dead:
		return ErrCrashed
	case f.closed:
		return fs.ErrClosed
	}
	return nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.alive(); err != nil {
		return 0, err
	}
	n := f.node
	if off < 0 {
		return 0, fmt.Errorf("reading at offset %d", off)
	}
	if f.disk.happens(f.disk.faults.Read) {
		return 0, fmt.Errorf("reading at %d: %w", off, ErrIO)
	}
	if off >= int64(n.size) {
		return 0, io.EOF
	}
	end := min(int(off)+len(p), n.size)
	if len(n.bad) > 0 {
		for s := int(off) - int(off)%sector; s < end; s += sector {
			if n.bad[s] {
				return 0, fmt.Errorf("reading sector at %d: %w", s, ErrIO)
			}
		}
	}
	read := copy(p, n.content[off:end])
	if read < len(p) {
		return read, io.EOF
	}
	return read, nil
}

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if err := f.alive(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("writing at offset %d", off)
	}
	d, n := f.disk, f.node
	within, err := d.begin()
	if err != nil {
		return 0, err
	}
	part, at := len(p), int(off)
	switch {
	case within:
		err = ErrCrashed
	case d.happens(d.faults.Write):
		err = fmt.Errorf("writing at %d: %w", off, ErrIO)
	case d.capacity > 0 && d.used+max(0, at+len(p)-n.size) > d.capacity:
		return 0, fmt.Errorf("writing %d bytes at %d, %d of %d are used: %w", len(p), off, d.used, d.capacity, ErrNoSpace)
	}
	if err != nil && len(p) > 0 {
		// All of it, or up to the edge of a sector.
		part = min(len(p), max(0, roundUp(at+d.chance.IntN(len(p)+1))-at))
	}
	n.write(d, p[:part], at)
	return part, err
}

func (f *file) Truncate(size int64) error {
	if err := f.alive(); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("truncating to %d", size)
	}
	d := f.disk
	within, err := d.begin()
	if err != nil {
		return err
	}
	if d.capacity > 0 && size > int64(f.node.size) && d.used+int(size)-f.node.size > d.capacity {
		return fmt.Errorf("growing to %d bytes, %d of %d are used: %w", size, d.used, d.capacity, ErrNoSpace)
	}
	f.node.truncate(d, int(size))
	if within {
		return ErrCrashed
	}
	return nil
}

func (f *file) Sync() error {
	if err := f.alive(); err != nil {
		return err
	}
	d := f.disk
	switch within, err := d.begin(); {
	case err != nil:
		return err
	case within:
		return ErrCrashed // what a crash keeps of what is not synced is what the sync had done
	case d.happens(d.faults.Sync):
		if d.happens(d.faults.Drop) {
			f.node.forget(d)
		}
		return fmt.Errorf("syncing: %w", ErrIO)
	}
	f.node.settle(d)
	return nil
}

func (f *file) Size() (int64, error) {
	if err := f.alive(); err != nil {
		return 0, err
	}
	return int64(f.node.size), nil
}

// Close of a dead process's file succeeds: the operating system has closed it.
func (f *file) Close() error {
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	return nil
}
