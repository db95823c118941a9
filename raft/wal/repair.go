package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/rsqld/rsqld/raft"
)

// Repaired says what Repair or AcceptLoss made of a log.
type Repaired struct {
	// Damage is what was wrong; nil if nothing was, and nothing was done.
	Damage *CorruptionError
	// Base is where the log begins, Last where it ends.
	Base, Last raft.EntryID
	// Lost, if not zero, is the last entry that this node may have acknowledged and does not have: those from Last on up
	// to it are missing. After Repair it is in HardState.Acked, and other nodes have them; after AcceptLoss it is not.
	Lost raft.EntryID
}

// Repair makes a damaged log one that Open opens, without forgetting what this node promised. machine is how far the
// state machine has come; the caller has made that durable before, so that no loss of power takes it back, because the
// log begins after it from now on: entries that the machine holds are needed no more, and damage among them is nobody's
// loss.
//
// A log that begins after an entry which the machine does not hold is damaged as well; Open cannot know that.
//
// Behind that, the log keeps what continues without a gap, also across damage whose entries were rewritten later. If
// entries are missing that this node may have acknowledged, the newest of them becomes HardState.Acked: package raft
// then does not campaign, and compares candidates with it, until the log has reached it again (CTRL, FAST'18). Hard state
// is that of the newest whole record or header, and in a new term with its vote spent if entries are missing: a record
// behind the newest whole one is taken for torn, as Open does, but where there was damage it may have held one more vote.
//
// It refuses with raft.ErrLost, and changes nothing, where other nodes cannot give back what is missing: on the only
// voter; and where the end of the log is damaged such that nobody knows what this node acknowledged, or voted for.
//
// The new log is one segment, which takes effect with its name. A crash leaves the old log or the new one. The next Open
// removes the damaged files.
func Repair(o Options, machine raft.Base) (Repaired, error) { return repair(o, machine, false) }

// AcceptLoss is Repair for an operator who knows that missing entries come back from nowhere: it refuses nothing, and the
// node forgets what it acknowledged. In a cluster with other voters that can undo what clients were told; to remove
// the node and to join a new one cannot.
func AcceptLoss(o Options, machine raft.Base) (Repaired, error) { return repair(o, machine, true) }

func repair(o Options, machine raft.Base, accept bool) (done Repaired, err error) {
	if o, err = o.withDefaults(); err != nil {
		return done, err
	}
	w := newWAL(o)
	v, err := look(w)
	defer func() { err = errors.Join(err, v.close()) }()
	if err != nil {
		return done, err
	}
	v.checkReach(machine.Applied)
	k := v.keep(machine.Applied)
	done = Repaired{Damage: v.damage, Base: machine.Applied, Last: k.last, Lost: k.lost}
	acked := v.tip.hard.Acked
	if v.damage == nil && !(accept && k.last.Compare(acked) < 0) {
		return Repaired{}, nil
	}
	if !accept {
		if err := v.refuse(o.Node, machine, k.lost); err != nil {
			return done, err
		}
	}
	hard := v.tip.hard
	hard.Term = max(hard.Term, k.last.Term, k.lost.Term)
	if k.lost != (raft.EntryID{}) || accept {
		hard.Term, hard.Vote = hard.Term+1, o.Node
	}
	switch {
	case accept:
		hard.Acked = raft.EntryID{}
	case k.lost.Compare(acked) > 0:
		hard.Acked = k.lost
	}
	if err := w.replace(v, machine, k, hard); err != nil {
		return done, fmt.Errorf("repairing the log: %w", err)
	}
	return done, nil
}

// checkReach notes a log that begins after the entry that the state machine needs next: its oldest segments are missing.
func (v *survey) checkReach(applied raft.EntryID) {
	if v.damage != nil || len(v.epochs) == 0 {
		return
	}
	if base := v.epochs[0].base; applied.Index < base.Index {
		v.damage = &CorruptionError{Segment: v.live[0].name, First: applied.Index + 1, Last: base.Index, Err: errBegins}
	}
}

// errBegins says that the oldest segments are gone.
var errBegins = errors.New("segments before it are missing")

// refuse returns why this node must not start without what is missing.
func (v *survey) refuse(self raft.ID, machine raft.Base, lost raft.EntryID) error {
	if v.blind != nil {
		return fmt.Errorf("%w: the end of the log cannot be known (%w): what this node acknowledged and whom it voted for is lost",
			raft.ErrLost, v.blind)
	}
	if lost == (raft.EntryID{}) {
		return nil
	}
	newest := raft.ConfigurationAt{Index: machine.ConfigurationIndex, Configuration: machine.Configuration}
	for _, e := range v.epochs {
		if c := e.configuration(); c.Index > newest.Index {
			newest = c
		}
	}
	if onlyVoter(newest.Configuration, self) {
		return fmt.Errorf("%w: %w, and this node is the only voter: no other has them", raft.ErrLost, v.damage)
	}
	return nil
}

// kept is what is left of a log after the entry that a state machine holds.
type kept struct {
	// parts follow one another without a gap, up to last.
	parts []part
	last  raft.EntryID
	// lost is the last entry of the damaged log, zero if it is kept.
	lost raft.EntryID
}

// part is the entries first to last of one epoch.
type part struct {
	epoch       *epoch
	first, last raft.Index
}

// keep chooses what is kept after applied, which is committed.
//
// An epoch whose base is in an earlier one continues it, whatever was between: the same id means the same log up to there
// (Log Matching). If that chain reaches back to applied, nothing is missing. Otherwise the newest epoch that holds
// applied is kept: the log as it once was. It may end with entries that were cut later, which a leader cuts again.
func (v *survey) keep(applied raft.EntryID) kept {
	k := kept{last: applied}
	if len(v.epochs) == 0 {
		return k
	}
	end := v.last()
	chain := v.chain()
	for i := len(chain) - 1; i >= 0; i-- {
		if p := chain[i]; p.epoch.holds(applied) && applied.Index <= p.last {
			chain[i].first = applied.Index + 1
			k.parts, k.last = chain[i:], end
			return k
		}
	}
	for i := len(v.epochs) - 1; i >= 0; i-- {
		if e := v.epochs[i]; e.holds(applied) {
			k.parts, k.last = []part{{e, applied.Index + 1, e.last.Index}}, e.last
			break
		}
	}
	if k.last.Compare(end) < 0 {
		k.lost = end
	}
	return k
}

// chain returns the parts of the log that are known to lead to its end, oldest first.
func (v *survey) chain() (parts []part) {
	e := v.newest()
	parts = []part{{e, e.base.Index + 1, e.last.Index}}
	base := e.base
	for i := len(v.epochs) - 2; i >= 0; i-- {
		if e := v.epochs[i]; e.holds(base) {
			parts = append([]part{{e, e.base.Index + 1, base.Index}}, parts...)
			base = e.base
		}
	}
	return parts
}

// replace makes the kept entries a log that begins anew at the machine's base, in a segment behind all that are there.
func (w *WAL) replace(v *survey, machine raft.Base, k kept, hard raft.HardState) error {
	s := &segment{end: headerSize}
	s.cluster, s.node = w.options.Cluster, w.options.Node
	for _, files := range [][]*surveyed{v.dead, v.live} {
		for _, old := range files {
			s.sequence = max(s.sequence, old.sequence+1)
		}
	}
	s.tip = tip{number: v.tip.number + 1, hard: hard} // a marker has that number
	s.setSalt(rand.New(rand.NewPCG(w.options.Seed, s.sequence)).Uint64())
	s.beginAt(&machine)
	file, err := w.options.Files.Open(w.path(nextPart), os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = w.copy(file, s, k)
	if err == nil {
		err = w.writeHeader(file, s, nil)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, discard(w.options.Files, w.path(nextPart)))
	}
	if err := w.options.Files.Rename(w.path(nextPart), w.path(s.name)); err != nil {
		return err
	}
	return w.options.Files.SyncDir(w.options.Dir)
}

// copy writes the kept entries behind the place of the header, and zeros behind them up to the segment's size.
func (w *WAL) copy(file File, s *segment, k kept) error {
	r := record{previous: s.chain, number: s.number, hard: s.hard, before: s.base}
	for _, p := range k.parts {
		err := p.epoch.each(p.first, p.last, func(entries []raft.Entry) error {
			r.number++
			r.entries = entries
			w.buffer = r.append(w.buffer[:0], s.placed(s.end))
			if s.end+int64(len(w.buffer))+recordHeader+lastPage > maxFile {
				return fmt.Errorf("%w: more than %d bytes of entries are not applied", ErrTooLarge, MaxRecord)
			}
			if _, err := file.WriteAt(w.buffer, s.end); err != nil {
				return err
			}
			s.end += int64(len(w.buffer))
			r.previous = chain(r.previous, w.buffer)
			r.before = entries[len(entries)-1].ID
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.size = max(s.end+recordHeader+lastPage, min(FirstSegmentSize, w.options.SegmentSize))
	return fill(file, s.end, s.size)
}

// each reads the entries from first to last, record by record. The entries are f's only while it runs.
func (e *epoch) each(first, last raft.Index, f func([]raft.Entry) error) error {
	if first > last {
		return nil
	}
	var r record
	for at := e.find(first); at.segment < len(e.segments) && at.first(&e.index) <= last; at = at.next(&e.index) {
		s, ref, live := e.segments[at.segment], at.ref(&e.index), at.last(&e.index)
		b := make([]byte, ref.length)
		if _, err := s.file.ReadAt(b, int64(ref.offset)); err != nil {
			return fmt.Errorf("reading %s at %d: %w", s.name, ref.offset, err)
		}
		if err := r.decode(b, s.placed(int64(ref.offset))); err != nil {
			return fmt.Errorf("reading %s at %d: %w: it was whole before", s.name, ref.offset, err)
		}
		entries := r.entries[max(first, ref.first)-ref.first : min(last, live)-ref.first+1]
		if err := f(entries); err != nil {
			return err
		}
	}
	return nil
}
