package sim

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rsqld/rsqld/raft/wal"
)

// directory is a set of names.
type directory struct {
	live, durable map[string]*inode
	// pending are the changes from durable to live, in the order in which they were made.
	pending []nameChange
}

// nameChange is one step: a name goes, a name comes, or both at once.
type nameChange struct {
	gone, name string
	node       *inode // what name is, nil without one
}

func newDirectory() *directory {
	return &directory{live: map[string]*inode{}, durable: map[string]*inode{}}
}

func (c nameChange) apply(names map[string]*inode) {
	if c.gone != "" {
		delete(names, c.gone)
	}
	if c.node != nil {
		// Where an earlier step is missing the file may still have a name that it lost on its way here.
		maps.DeleteFunc(names, func(_ string, node *inode) bool { return node == c.node })
		names[c.name] = c.node
	}
}

// mount is a process's view of a disk. It implements wal.Files.
type mount struct {
	disk *Disk
	life uint64
}

func (m *mount) alive() error {
	if m.life != m.disk.life || m.disk.dead {
		return ErrCrashed
	}
	return nil
}

// split returns the directory that name is in, and the last part of the name.
func (d *Disk) split(name string) (*directory, string, error) {
	dir, err := d.directory(filepath.Dir(name))
	return dir, filepath.Base(name), err
}

func (d *Disk) directory(name string) (*directory, error) {
	at := d.root
	for _, part := range parts(name) {
		if at = at.dir.live[part]; at == nil || at.dir == nil {
			return nil, fmt.Errorf("directory %s: %w", name, fs.ErrNotExist)
		}
	}
	return at.dir, nil
}

// parts returns the names from the root on.
func parts(name string) []string {
	return strings.FieldsFunc(filepath.ToSlash(name), func(r rune) bool { return r == '/' })
}

// change makes a step that is durable after the next SyncDir.
func (d *Disk) change(dir *directory, c nameChange) {
	if replaced := dir.live[c.name]; c.node != nil && replaced != nil {
		d.used -= replaced.size
	}
	c.apply(dir.live)
	if len(dir.pending) == 0 {
		d.unsynced++
	}
	dir.pending = append(dir.pending, c)
}

func (m *mount) Open(name string, flag int) (wal.File, error) {
	d := m.disk
	if err := m.alive(); err != nil {
		return nil, err
	}
	dir, base, err := d.split(name)
	if err != nil {
		return nil, err
	}
	node := dir.live[base]
	switch {
	case node != nil && node.dir != nil:
		return nil, fmt.Errorf("%s is a directory", name)
	case flag&(os.O_CREATE|os.O_TRUNC) == 0 && node == nil:
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	case flag&(os.O_CREATE|os.O_TRUNC) == 0:
		return &file{disk: d, node: node, life: m.life}, nil
	}
	within, err := d.begin()
	if err != nil {
		return nil, err
	}
	if node == nil {
		node = &inode{}
		d.change(dir, nameChange{name: base, node: node})
	} else if flag&os.O_TRUNC != 0 {
		node.truncate(d, 0)
	}
	if within {
		return nil, ErrCrashed
	}
	return &file{disk: d, node: node, life: m.life}, nil
}

func (m *mount) Remove(name string) error {
	if err := m.alive(); err != nil {
		return err
	}
	dir, base, err := m.disk.split(name)
	if err != nil {
		return err
	}
	node := dir.live[base]
	if node == nil {
		return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	if node.dir != nil && len(node.dir.live) > 0 {
		return fmt.Errorf("%s is a directory that is not empty", name)
	}
	return m.step(func(d *Disk) {
		d.used -= node.size
		d.change(dir, nameChange{gone: base})
	})
}

// Rename changes a name inside one directory. Between two it is two steps, of which a crash may keep one.
func (m *mount) Rename(old, new string) error {
	if err := m.alive(); err != nil {
		return err
	}
	from, oldBase, err := m.disk.split(old)
	if err != nil {
		return err
	}
	to, newBase, err := m.disk.split(new)
	if err != nil {
		return err
	}
	node := from.live[oldBase]
	if node == nil {
		return fmt.Errorf("%s: %w", old, fs.ErrNotExist)
	}
	return m.step(func(d *Disk) {
		switch {
		case from != to:
			d.change(from, nameChange{gone: oldBase})
			d.change(to, nameChange{name: newBase, node: node})
		case oldBase != newBase:
			d.change(to, nameChange{gone: oldBase, name: newBase, node: node})
		}
	})
}

// step counts an operation on names and does it, also if the process dies within it.
func (m *mount) step(do func(*Disk)) error {
	within, err := m.disk.begin()
	if err != nil {
		return err
	}
	do(m.disk)
	if within {
		return ErrCrashed
	}
	return nil
}

func (m *mount) List(name string) ([]string, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	dir, err := m.disk.directory(name)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(dir.live)), nil
}

func (m *mount) MkdirAll(name string) error {
	if err := m.alive(); err != nil {
		return err
	}
	at := m.disk.root.dir
	for _, part := range parts(name) {
		next := at.live[part]
		if next == nil {
			next = &inode{dir: newDirectory()}
			if err := m.step(func(d *Disk) { d.change(at, nameChange{name: part, node: next}) }); err != nil {
				return err
			}
		}
		if at = next.dir; at == nil {
			return fmt.Errorf("%s in %s is a file", part, name)
		}
	}
	return nil
}

func (m *mount) SyncDir(name string) error {
	d := m.disk
	if err := m.alive(); err != nil {
		return err
	}
	dir, err := d.directory(name)
	if err != nil {
		return err
	}
	switch within, err := d.begin(); {
	case err != nil:
		return err
	case within:
		return ErrCrashed // what a crash keeps of what is pending is what the sync had done
	case d.happens(d.faults.Sync):
		return fmt.Errorf("syncing directory %s: %w", name, ErrIO)
	}
	if len(dir.pending) == 0 {
		return nil
	}
	for _, c := range dir.pending {
		c.apply(dir.durable)
	}
	dir.pending = dir.pending[:0]
	d.unsynced--
	return nil
}
