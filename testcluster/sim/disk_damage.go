package sim

import (
	"fmt"
	"strings"
)

// Damage is something that happens to bytes that are on the platter. Settled proposes one, Inflict does it.
type Damage struct {
	// Name is the file's, from the root on with slashes.
	Name string
	Kind DamageKind
	// sectors are the offsets that lose what they hold, source the write that was not done right.
	sectors []int
	source  *durableWrite
}

// DamageKind says what happened.
type DamageKind uint8

const (
	// BitRot changes one bit.
	BitRot DamageKind = iota
	// Zeroed makes a sector zero.
	Zeroed
	// Latent makes a sector unreadable until it is written again.
	Latent
	// LostWrite undoes an earlier write that the disk reported as done.
	LostWrite
	// Misdirected undoes an earlier write and puts what it held in the place of something else.
	Misdirected
	damageKinds
)

func (k DamageKind) String() string {
	return [...]string{"bit rot", "zeroed sector", "latent sector", "lost write", "misdirected write"}[k]
}

func (d Damage) String() string {
	return fmt.Sprintf("%s in %s at %d", d.Kind, d.Name, d.sectors)
}

const (
	// recentWrites is how many writes can turn out to be lost or misdirected, recentBytes the size of the largest.
	recentWrites = 16
	recentBytes  = 8 << 10
)

// durableWrite is a write that is on the platter.
type durableWrite struct {
	node          *inode
	from          int
	before, after []byte
}

// remember keeps a write that is about to become durable. The slots' memory is used again.
func (d *Disk) remember(n *inode, e extent) {
	if e.at < 0 || e.to-e.from > recentBytes {
		return
	}
	w := &d.recent[d.at]
	d.at = (d.at + 1) % recentWrites
	w.node, w.from = n, e.from
	w.before = append(w.before[:0], n.before(e)...)
	w.after = append(w.after[:0], n.content[e.from:e.to]...)
}

// Settled proposes damage to a file whose name contains part. It reports false if chance found no place.
//
// It never proposes a sector of what a file's newest sync has written, nor one that was written since: damage there cannot
// be told from a write that was interrupted, by no log whatsoever, and is a test of none. So whatever a log loses by this
// damage it can notice.
func (d *Disk) Settled(part string) (Damage, bool) {
	var names []string
	var nodes []*inode
	d.files(d.root.dir, func(name string, n *inode) {
		if strings.Contains(name, part) && len(n.sizes) == 0 && n.size > 0 {
			names, nodes = append(names, name), append(nodes, n)
		}
	})
	if len(nodes) == 0 {
		return Damage{}, false
	}
	i := d.chance.IntN(len(nodes))
	n := nodes[i]
	damage := Damage{Name: names[i], Kind: DamageKind(d.chance.IntN(int(damageKinds)))}
	if damage.Kind == LostWrite || damage.Kind == Misdirected {
		return damage, d.settledWrite(n, &damage)
	}
	return damage, d.settledSector(n, &damage)
}

// settledSector picks a sector. Most of a log's file is zeros that hold nothing: others are preferred.
func (d *Disk) settledSector(n *inode, damage *Damage) bool {
	const tries = 8
	for range tries {
		s := d.chance.IntN(len(n.content)/sector) * sector
		if n.settled(s) && (!zero(n.content[s:s+sector]) || d.chance.IntN(tries) == 0) {
			damage.sectors = []int{s}
			return true
		}
	}
	return false
}

// settledWrite picks a recent write of n. What later writes put into its sectors was put there by them and stays.
func (d *Disk) settledWrite(n *inode, damage *Damage) bool {
	w := &d.recent[d.chance.IntN(recentWrites)]
	if w.node != n {
		return false
	}
	for at := 0; at < len(w.after); at += sector {
		s := w.from + at
		if s >= n.size || string(n.content[s:s+sector]) != string(w.after[at:at+sector]) {
			continue
		}
		if !n.settled(s) {
			return false
		}
		damage.sectors = append(damage.sectors, s)
	}
	damage.source = w
	if len(damage.sectors) == 0 || damage.Kind == LostWrite {
		return len(damage.sectors) > 0
	}
	// The place that it went to.
	var elsewhere Damage
	if !d.settledSector(n, &elsewhere) {
		return false
	}
	damage.sectors = append(damage.sectors, elsewhere.sectors...)
	return true
}

// settled reports whether damage to the sector at s cannot look like an interrupted write.
func (n *inode) settled(s int) bool {
	for _, writes := range [][]extent{n.newest, n.undo} {
		for _, e := range writes {
			if e.from <= s && s < e.to {
				return false
			}
		}
	}
	return true
}

// Inflict does what Settled has proposed. Nothing may have used the disk in between. Processes see it at once.
func (d *Disk) Inflict(damage Damage) {
	n := d.named(damage.Name)
	switch damage.Kind {
	case BitRot:
		n.content[damage.sectors[0]+d.chance.IntN(sector)] ^= 1 << d.chance.IntN(8)
	case Zeroed:
		clear(n.content[damage.sectors[0]:][:sector])
	case Latent:
		if n.bad == nil {
			n.bad = map[int]bool{}
		}
		n.bad[damage.sectors[0]] = true
	case LostWrite, Misdirected:
		w, undone := damage.source, damage.sectors
		if damage.Kind == Misdirected {
			last := len(undone) - 1
			copy(n.content[undone[last]:][:sector], w.after[undone[0]-w.from:])
			undone = undone[:last]
		}
		for _, s := range undone {
			copy(n.content[s:s+sector], w.before[s-w.from:])
		}
	}
	clear(n.content[n.size:])
}

// named returns the file that Settled named.
func (d *Disk) named(name string) (found *inode) {
	d.files(d.root.dir, func(other string, n *inode) {
		if other == name {
			found = n
		}
	})
	return found
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
