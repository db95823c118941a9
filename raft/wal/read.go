package wal

import (
	"fmt"
	"sort"

	"github.com/rsqld/rsqld/raft"
)

// loaded is a record that was too large for one answer of Entries. It is kept until its rest was asked for, because
// reading and checking all of it again for each part would take quadratic time.
type loaded struct {
	segment *segment
	offset  uint32
	entries []raft.Entry
}

// stretch is a run of records of one segment without a gap, to be read at once.
type stretch struct {
	segment *segment
	refs    []ref
	// last is the last live entry of the last ref.
	last raft.Index
}

// plan is what the answer to one call of Entries consists of, as the log was at one moment: a truncation that comes
// later does not mix into it. A stretch holds its segment open until done.
type plan struct {
	stretches []stretch
	cached    []raft.Entry // after the stretches
}

func (p *plan) done() {
	for i := range p.stretches {
		p.stretches[i].segment.readers.Done()
	}
}

// Entries returns the entries from first on: at least one, at most up to last, and after the first one at most maxBytes
// of data. It may return fewer than would fit. Entries that come from disk are checked against their checksum every
// time: a *CorruptionError says that they rotted. ErrCompacted says that first is no longer held.
//
// The caller must not change the entries' data, of which several may share one buffer.
func (w *WAL) Entries(first, last raft.Index, maxBytes int) ([]raft.Entry, error) {
	if first > last {
		return nil, nil
	}
	p, err := w.plan(first, last, maxBytes)
	if err != nil {
		return nil, err
	}
	if len(p.stretches) == 0 {
		return p.cached, nil
	}
	defer p.done()
	a := answer{first: first, last: last, maxBytes: maxBytes, room: len(p.cached)}
	for i := range p.stretches {
		if err := a.read(&p.stretches[i]); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	if !w.closed {
		w.loaded = a.rest
	}
	w.mu.Unlock()
	for i := range p.cached {
		if !a.add(&p.cached[i]) {
			break
		}
	}
	return a.entries, nil
}

// plan finds the places of the entries.
func (w *WAL) plan(first, last raft.Index, maxBytes int) (p plan, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x := &w.index
	switch {
	case w.closed:
		return p, ErrClosed
	case first <= x.base.Index:
		return p, fmt.Errorf("%w: index %d, the log begins at %d", ErrCompacted, first, x.base.Index+1)
	case first > x.last.Index:
		return p, fmt.Errorf("the log holds no entry %d: it ends at %d", first, x.last.Index)
	}
	// A truncation since the caller looked at Bounds may have moved the end; what is left is an answer too.
	last = min(last, x.last.Index)
	if x.cache.holds(first) {
		p.cached = x.cache.read(first, last, maxBytes)
		return p, nil
	}
	at := x.find(first)
	if l := w.loaded; l != nil && l.segment == x.segments[at.segment] && l.offset == at.ref(x).offset {
		live := at.last(x)
		p.cached = l.read(first, min(last, live), maxBytes)
		if p.cached[len(p.cached)-1].ID.Index == live {
			w.loaded = nil
		}
		return p, nil
	}
	// Lengths of records stand for the bytes of their entries: that is somewhat more, so that fewer may be read than fit,
	// but never much more than is asked for.
	for budget := maxBytes; ; {
		budget = p.take(x, &at, last, budget)
		switch next := at.first(x); {
		case budget <= 0 || next == 0 || next > last:
			return p, nil
		case x.cache.holds(next):
			p.cached = x.cache.read(next, last, budget)
			return p, nil
		}
	}
}

// read returns entries of the record that was kept, without the disk.
func (l *loaded) read(first, last raft.Index, maxBytes int) []raft.Entry {
	a := answer{first: first, last: last, maxBytes: maxBytes}
	for i := int(first - l.entries[0].ID.Index); i < len(l.entries) && a.add(&l.entries[i]); i++ {
	}
	return a.entries
}

// place is a position among the refs of all segments. It is valid while mu is held. Segments without refs are between the
// others where they hold votes only, or where a truncation took all that they held.
type place struct{ segment, at int }

// find returns the place of the record that holds the live entry i.
func (x *index) find(i raft.Index) place {
	for k := len(x.segments) - 1; ; k-- { // the index invariant: some ref is not above i
		refs := x.segments[k].refs
		if n := sort.Search(len(refs), func(j int) bool { return refs[j].first > i }); n > 0 {
			return place{k, n - 1}
		}
	}
}

func (at place) ref(x *index) ref { return x.segments[at.segment].refs[at.at] }

// next returns the place of the following ref. Its segment is past the last one if there is none.
func (at place) next(x *index) place {
	at.at++
	for at.segment < len(x.segments) && at.at >= len(x.segments[at.segment].refs) {
		at = place{at.segment + 1, 0}
	}
	return at
}

// first returns the index of the first entry there, zero past the end.
func (at place) first(x *index) raft.Index {
	if at.segment == len(x.segments) {
		return 0
	}
	return at.ref(x).first
}

// last returns the index of the last live entry there.
func (at place) last(x *index) raft.Index {
	if next := at.next(x).first(x); next != 0 {
		return next - 1
	}
	return x.last.Index
}

// take adds the stretch at the place to the plan and moves the place behind it. It ends where the records do not touch,
// at last, where the cache begins, or where the budget of bytes is used up; what is left of that is returned.
func (p *plan) take(x *index, at *place, last raft.Index, budget int) int {
	s := x.segments[at.segment]
	begin, end := at.at, at.at
	for {
		r := s.refs[end]
		budget -= int(r.length)
		end++
		*at = at.next(x)
		if at.segment >= len(x.segments) || x.segments[at.segment] != s || budget <= 0 {
			break
		}
		next := s.refs[end]
		if next.offset != r.offset+r.length || next.first > last || x.cache.holds(next.first) {
			break
		}
	}
	s.readers.Add(1) // until done
	live := x.last.Index
	if next := at.first(x); next != 0 {
		live = next - 1
	}
	p.stretches = append(p.stretches, stretch{s, s.refs[begin:end:end], live})
	return budget
}

// maxPresized bounds the places that are made in advance for entries of which a record may hold far more than are asked
// for.
const maxPresized = 4096

// answer collects the entries of one call.
type answer struct {
	first, last     raft.Index
	maxBytes, bytes int
	room            int // expected besides what the stretches hold
	entries         []raft.Entry
	// rest is a record of which only a part found room, if it is larger than maxBytes by itself.
	rest *loaded
	// full says that the next entry found no room.
	full bool
}

// add takes an entry and reports whether there was room for it. Entries outside of first … last count as taken.
func (a *answer) add(e *raft.Entry) bool {
	if a.full || e.ID.Index > a.last {
		return false
	}
	if e.ID.Index < a.first {
		return true
	}
	if a.bytes+len(e.Data) > a.maxBytes && len(a.entries) > 0 {
		a.full = true
		return false
	}
	a.bytes += len(e.Data)
	a.entries = append(a.entries, *e)
	return true
}

// read adds the entries of a stretch.
func (a *answer) read(p *stretch) error {
	begin, end := p.refs[0], p.refs[len(p.refs)-1]
	b := make([]byte, int64(end.offset)+int64(end.length)-int64(begin.offset))
	if _, err := p.segment.file.ReadAt(b, int64(begin.offset)); err != nil {
		return fmt.Errorf("reading %s at %d: %w", p.segment.name, begin.offset, err)
	}
	if a.entries == nil {
		count := min(p.last, a.last) - max(begin.first, a.first) + 1
		a.entries = make([]raft.Entry, 0, int(min(count, maxPresized))+a.room)
	}
	var r record
	for i, ref := range p.refs {
		live := p.last
		if i+1 < len(p.refs) {
			live = p.refs[i+1].first - 1
		}
		// A whole record in the wrong place is what a misdirected write or a lost one leaves.
		err := r.decode(b[ref.offset-begin.offset:][:ref.length], p.segment.placed(int64(ref.offset)))
		if count := live - ref.first + 1; err != nil || r.first() != ref.first || raft.Index(len(r.entries)) < count {
			return &CorruptionError{Segment: p.segment.name, Offset: int64(ref.offset), First: ref.first, Last: live}
		}
		for k := range r.entries[:live-ref.first+1] {
			if !a.add(&r.entries[k]) {
				if a.full && int(ref.length) > a.maxBytes {
					a.rest = &loaded{p.segment, ref.offset, r.entries}
				}
				return nil
			}
		}
	}
	return nil
}

// Bounds returns the first and the last index held; last is first-1 if the log holds no entry.
func (w *WAL) Bounds() (first, last raft.Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index.base.Index + 1, w.index.last.Index
}

// Size returns the bytes that the segments take on disk, without the spare.
func (w *WAL) Size() (size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, segments := range [][]*segment{w.retired, w.index.segments} {
		for _, s := range segments {
			size += s.size
		}
	}
	return size
}
