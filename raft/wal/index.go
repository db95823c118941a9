package wal

import (
	"fmt"
	"slices"
	"sort"

	"github.com/rsqld/rsqld/raft"
)

// index says what the log holds and where. It knows nothing of writing. In a WAL it is guarded by WAL.mu.
//
//	base < first of the oldest live ref = base+1 … last
//
// A truncation never reaches base or below: what was compacted was committed.
type index struct {
	// base is the entry before the first one held: that of the oldest segment.
	base raft.EntryID
	last raft.EntryID
	// runs are the terms of base.Index+1 … last.Index, rising in both fields; empty iff last == base.
	runs []raft.TermRun
	// configurations are those of the configuration entries held, and before them the one that counted at base, if
	// there is one. Rising by index.
	configurations []raft.ConfigurationAt
	// segments, oldest first. The last one is the appender's active one.
	segments []*segment
	// cache is empty or ends with last.
	cache cache
}

// start makes s the oldest segment.
func (x *index) start(s *segment) {
	x.base, x.last = s.base, s.base
	if s.configuration.Index != 0 {
		x.configurations = []raft.ConfigurationAt{s.configuration}
	}
}

// restart makes s, which holds nothing yet, the only segment, and returns those before it.
func (x *index) restart(s *segment) (old []*segment) {
	old = x.segments
	*x = index{segments: []*segment{s}, cache: x.cache}
	x.cache.truncate(0)
	x.start(s)
	return old
}

// holds reports whether the log holds an entry, or begins after it.
func (x *index) holds(id raft.EntryID) bool {
	return id.Index >= x.base.Index && id.Index <= x.last.Index && x.term(id.Index) == id.Term
}

// before returns the entry before index, which is in base.Index+1 … last.Index+1.
func (x *index) before(i raft.Index) raft.EntryID {
	return raft.EntryID{Term: x.term(i - 1), Index: i - 1}
}

// term returns the term of the entry at i, which is in base.Index … last.Index.
func (x *index) term(i raft.Index) raft.Term {
	at := sort.Search(len(x.runs), func(k int) bool { return x.runs[k].First > i })
	if at == 0 {
		return x.base.Term
	}
	return x.runs[at-1].Term
}

// end returns the last entry that remains after a truncation from index from on; zero truncates nothing.
func (x *index) end(from raft.Index) raft.EntryID {
	if from != 0 && from <= x.last.Index {
		return x.before(from)
	}
	return x.last
}

// configuration returns the one that counts now.
func (x *index) configuration() (c raft.ConfigurationAt) {
	if n := len(x.configurations); n > 0 {
		c = x.configurations[n-1]
	}
	return c
}

// add enters a durable record, which lies in s. The entries' data are kept as they are.
func (x *index) add(r *record, s *segment, offset int64) error {
	if r.truncateFrom != 0 {
		x.truncate(r.truncateFrom)
	}
	if len(r.entries) == 0 {
		return nil
	}
	s.refs = append(s.refs, ref{r.first(), uint32(offset), uint32(r.length)})
	for i := range r.entries {
		e := &r.entries[i]
		if n := len(x.runs); n == 0 || x.runs[n-1].Term != e.ID.Term {
			x.runs = append(x.runs, raft.TermRun{First: e.ID.Index, Term: e.ID.Term})
		}
		if e.Kind == raft.EntryConfiguration {
			c, err := raft.DecodeConfiguration(e.Data)
			if err != nil {
				return fmt.Errorf("entry %s: %w", e.ID, err)
			}
			x.configurations = append(x.configurations, raft.ConfigurationAt{Index: e.ID.Index, Configuration: c})
		}
		x.cache.push(e)
		x.last = e.ID
	}
	return nil
}

// truncate forgets the entries from index from on, which is above base.
func (x *index) truncate(from raft.Index) {
	if from > x.last.Index {
		return
	}
	x.last = x.before(from)
	// Refs from here on are gone; one that begins before from and holds entries behind it stays, and its live part ends
	// where the next ref begins.
	for i := len(x.segments) - 1; i >= 0; i-- {
		s := x.segments[i]
		n := sort.Search(len(s.refs), func(k int) bool { return s.refs[k].first >= from })
		s.refs = slices.Clip(s.refs[:n])
		if s.base.Index < from {
			break
		}
		s.rewritten = true
	}
	runs := sort.Search(len(x.runs), func(k int) bool { return x.runs[k].First >= from })
	x.runs = x.runs[:runs]
	for n := len(x.configurations); n > 0 && x.configurations[n-1].Index >= from; n-- {
		x.configurations = x.configurations[:n-1]
	}
	x.cache.truncate(from)
}

// compact takes out of the log the segments up to the newest one that may be the oldest: one that begins at or before
// through and whose header is still true of the log. Entries after its base were all written into it or later, because
// base was the last entry when it began, so nothing after through is lost. A rewritten segment is followed by one that is
// not, at the latest when the active one is full.
//
// It returns what it took, oldest first.
func (x *index) compact(through raft.Index) []*segment {
	start := len(x.segments) - 1
	for start > 0 && (x.segments[start].base.Index > through || x.segments[start].rewritten) {
		start--
	}
	if start == 0 {
		return nil
	}
	old := slices.Clone(x.segments[:start])
	x.segments = slices.Clone(x.segments[start:]) // not a part of the old array, which pins the segments
	x.base = x.segments[0].base
	first := sort.Search(len(x.runs), func(k int) bool { return x.runs[k].First > x.base.Index+1 })
	if first > 0 {
		x.runs = slices.Clone(x.runs[first-1:])
		x.runs[0].First = x.base.Index + 1
	}
	if x.base == x.last {
		x.runs = nil
	}
	kept := sort.Search(len(x.configurations), func(k int) bool { return x.configurations[k].Index > x.base.Index })
	x.configurations = slices.Clone(x.configurations[max(kept-1, 0):])
	return old
}
