package sim

import (
	"maps"
	"slices"
)

// Crash is a loss of power: it ends the process and decides what of everything that is not durable has survived.
func (d *Disk) Crash() { d.lose(d.odds(), d.faults.Flip) }

// Kill ends the process alone. What it has written stays, not durable, and is lost only by a Crash that follows. What a
// failed Sync has dropped may leave memory, from where it was read until now.
func (d *Disk) Kill() {
	d.bury()
	d.files(d.root.dir, func(_ string, n *inode) {
		if len(n.stale) > 0 && d.chance.IntN(2) == 0 {
			n.evict()
		}
	})
}

// Replace puts an empty disk in the place of this one.
func (d *Disk) Replace() {
	d.bury()
	d.root = &inode{dir: newDirectory()}
	d.unsynced, d.used = 0, 0
	d.recent = [recentWrites]durableWrite{}
}

// Durable returns a copy of the disk that holds what is durable and nothing else. Nothing happens to this one.
func (d *Disk) Durable() *Disk {
	c := *NewDisk(0)
	c.root = d.root.copyDurable(map[*inode]*inode{})
	c.files(c.root.dir, func(_ string, n *inode) { c.used += n.size })
	return &c
}

// odds draws how much of what is not durable a crash keeps, as a probability: nothing, all or some. The two ends are
// frequent: one lost write is hard to hit when each other is lost as well.
func (d *Disk) odds() float64 {
	return [...]float64{0, 0.1, 0.5, 0.5, 0.9, 1}[d.chance.IntN(6)]
}

// lose ends the process. Of what is not durable each step survives with a probability of keep, each sector that does has
// a wrong bit with one of flip.
func (d *Disk) lose(keep, flip float64) {
	d.bury()
	d.crashes++
	d.used = 0
	d.resolveNames(d.root.dir, keep, flip)
	d.unsynced = 0
}

// resolveNames decides which names there are, and then about the files that have one.
func (d *Disk) resolveNames(dir *directory, keep, flip float64) {
	for _, c := range dir.pending {
		if d.chance.Float64() < keep {
			c.apply(dir.durable)
		}
	}
	dir.pending = nil
	dir.live = maps.Clone(dir.durable)
	for _, name := range slices.Sorted(maps.Keys(dir.live)) {
		switch n := dir.live[name]; {
		case n.dir != nil:
			d.resolveNames(n.dir, keep, flip)
		case n.seen != d.crashes: // two directories may have it
			n.seen = d.crashes
			n.lose(d, keep, flip)
			d.used += n.size
		}
	}
}

// lose decides what is on the platter.
func (n *inode) lose(d *Disk, keep, flip float64) {
	n.evict()
	if n.clean() {
		return
	}
	sizes := append(slices.Clone(n.sizes), n.size)
	size := sizes[len(sizes)-1]
	if d.chance.Float64() >= keep {
		size = sizes[d.chance.IntN(len(sizes))]
	}
	n.content = n.resolve(d, keep, flip)
	n.size = size
	n.grow(size)
	clear(n.content[size:])
	n.undo, n.saved, n.sizes = nil, nil, nil
}

// evict lets go of what can be read and is not on the platter.
func (n *inode) evict() {
	for s, old := range n.stale {
		copy(n.content[s:], old)
	}
	n.stale = nil
}

// resolve returns the content with each sector of each write that is not synced in it with a probability of keep.
func (n *inode) resolve(d *Disk, keep, flip float64) []byte {
	platter := slices.Clone(n.content)
	after := make([][]byte, len(n.undo))
	for i, e := range slices.Backward(n.undo) {
		after[i] = slices.Clone(platter[e.from:e.to])
		copy(platter[e.from:e.to], n.before(e))
	}
	for i, e := range n.undo {
		for s := e.from; s < e.to; s += sector {
			if d.chance.Float64() >= keep {
				continue
			}
			old := platter[s : s+sector]
			written := after[i][s-e.from:][:sector]
			if d.happens(flip) {
				d.flip(old, written)
			}
			copy(old, written)
		}
	}
	return platter
}

// flip undoes a bit that changes from old to written, if there is one.
func (d *Disk) flip(old, written []byte) {
	at := d.chance.IntN(sector)
	for range sector {
		if diff := old[at] ^ written[at]; diff != 0 {
			written[at] ^= diff & -diff
			return
		}
		at = (at + 1) % sector
	}
}

// files calls do for each file that processes see, in the order of names.
func (d *Disk) files(dir *directory, do func(name string, n *inode)) {
	for _, name := range slices.Sorted(maps.Keys(dir.live)) {
		if n := dir.live[name]; n.dir != nil {
			d.files(n.dir, func(under string, n *inode) { do(name+"/"+under, n) })
		} else {
			do(name, n)
		}
	}
}

// copyDurable returns what of a file or directory is durable. copies are those that were made.
func (n *inode) copyDurable(copies map[*inode]*inode) *inode {
	if c := copies[n]; c != nil {
		return c
	}
	c := &inode{}
	copies[n] = c
	if n.dir != nil {
		c.dir = newDirectory()
		for name, child := range n.dir.durable {
			c.dir.durable[name] = child.copyDurable(copies)
		}
		c.dir.live = maps.Clone(c.dir.durable)
		return c
	}
	c.content = slices.Clone(n.content)
	for _, e := range slices.Backward(n.undo) {
		copy(c.content[e.from:e.to], n.before(e))
	}
	for s, old := range n.stale {
		copy(c.content[s:], old)
	}
	if c.size = n.size; len(n.sizes) > 0 {
		c.size = n.sizes[0]
	}
	c.grow(c.size)
	clear(c.content[c.size:])
	c.bad = maps.Clone(n.bad)
	return c
}
