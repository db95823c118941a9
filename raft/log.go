package raft

import (
	"fmt"
	"slices"
	"sort"
)

// entryOverhead is what an entry costs in memory besides its data.
const entryOverhead = 48

// entryBytes is the size of an entry as all limits count it.
func entryBytes(e *Entry) int { return len(e.Data) + entryOverhead }

// log is the node's view of its log: the terms of all entries as runs, the newest entries in memory, and how far the
// log is written, durable, committed and handed to the state machine.
//
//	base ≤ applied ≤ handed ≤ commit ≤ last
//	               handed ≤ stable ≤ written ≤ last
//
// Entries that are not durable or not committed are always in the tail; older ones may be in the durable log only.
type log struct {
	// base is the entry before the first one held. Its term is known, those before it are forgotten.
	base EntryID
	// runs are the terms of base.Index+1 … last.Index, rising in both fields; empty iff last == base.
	runs []TermRun
	last EntryID

	// tail holds the newest entries, contiguous up to last. Parts of its array are shared with writes and messages
	// on their way: no element is ever overwritten, a cut limits the capacity so that the next append moves.
	tail      []Entry
	tailBytes int
	// shadow is the size of entries that left the tail but are still reachable through its array.
	shadow       int
	maxTailBytes int

	// truncate, if not zero, is the lowest written index that the next write must cut from on.
	truncate Index
	// written is the newest index handed out in a Write and not cut since.
	written Index
	// stable is the newest index known to be durable and not cut since.
	stable Index

	commit, handed, applied Index
}

func newLog(from Log, applied Index, maxTailBytes int) (log, error) {
	l := log{
		base: from.Base, runs: slices.Clone(from.Runs), last: from.Last, tail: slices.Clone(from.Tail),
		maxTailBytes: maxTailBytes, written: from.Last.Index, stable: from.Last.Index,
		commit: applied, handed: applied, applied: applied,
	}
	if applied < l.base.Index || applied > l.last.Index {
		return log{}, fmt.Errorf("log holds %s to %s, but index %d is applied", l.base, l.last, applied)
	}
	if err := l.checkRuns(); err != nil {
		return log{}, err
	}
	for i := range l.tail {
		e := &l.tail[i]
		if want := l.tailFirst() + Index(i); e.ID.Index != want || !l.holds(e.ID) {
			return log{}, fmt.Errorf("log tail has entry %s where %d is due", e.ID, want)
		}
		l.tailBytes += entryBytes(e)
	}
	return l, nil
}

func (l *log) checkRuns() error {
	before := TermRun{First: l.base.Index, Term: l.base.Term}
	for i, run := range l.runs {
		begins := i == 0 && run.First == l.base.Index+1 && run.Term >= before.Term
		follows := i > 0 && run.First > before.First && run.Term > before.Term
		if !begins && !follows || run.First > l.last.Index {
			return fmt.Errorf("log runs %v do not cover %s to %s", l.runs, l.base, l.last)
		}
		before = run
	}
	if before.Term != l.last.Term || (len(l.runs) == 0) != (l.last == l.base) || l.last.Index < l.base.Index {
		return fmt.Errorf("log runs %v do not cover %s to %s", l.runs, l.base, l.last)
	}
	return nil
}

// run returns the position of the run that holds index, which must be in base.Index+1 … last.Index.
func (l *log) run(index Index) int {
	newest := len(l.runs) - 1
	if l.runs[newest].First <= index {
		return newest
	}
	return sort.Search(newest, func(i int) bool { return l.runs[i].First > index }) - 1
}

// term returns the term of the entry at index, if the log knows it.
func (l *log) term(index Index) (Term, bool) {
	switch {
	case index == l.base.Index:
		return l.base.Term, true
	case index < l.base.Index || index > l.last.Index:
		return 0, false
	}
	return l.runs[l.run(index)].Term, true
}

// holds reports whether the entry id is in the log.
func (l *log) holds(id EntryID) bool {
	term, known := l.term(id.Index)
	return known && term == id.Term
}

// lastBefore returns the newest entry whose index and term are both at most those of limit: the newest one at which
// this log can agree with a log that holds limit, or that rejected limit's index and offers limit (§3.5 end).
//
// Both sides of a conflict use it. Each rejection skips at least one whole term of one of the two logs:
//
//	index     1 2 3 4 5 6 7 8 9
//	leader    1 3 3 3 5 5 5 5 5     asks whether 9 (term 5) is held
//	follower  1 1 1 1 2 2           has 6 (term 2) at most: hint 6/2
//
// The leader's newest entry with index ≤ 6 and term ≤ 2 is 1/1, so that the next probe is the last one.
// If nothing of the kind is held, the result is below base and its term is zero.
func (l *log) lastBefore(limit EntryID) EntryID {
	index := min(limit.Index, l.last.Index)
	for index > l.base.Index {
		i := l.run(index)
		if l.runs[i].Term <= limit.Term {
			return EntryID{Term: l.runs[i].Term, Index: index}
		}
		older := sort.Search(i, func(i int) bool { return l.runs[i].Term > limit.Term })
		index = l.runs[older].First - 1
	}
	if index == l.base.Index && l.base.Term <= limit.Term {
		return l.base
	}
	return EntryID{Index: min(index, max(l.base.Index, 1)-1)}
}

// tailFirst returns the index of the oldest entry in memory, last.Index+1 if there is none.
func (l *log) tailFirst() Index { return l.last.Index - Index(len(l.tail)) + 1 }

// append adds entries, which must follow last.
func (l *log) append(entries []Entry) {
	for i := range entries {
		e := &entries[i]
		if e.ID.Index != l.last.Index+1 || e.ID.Term < l.last.Term {
			panic(fmt.Sprintf("raft: entry %s appended after %s", e.ID, l.last))
		}
		if len(l.runs) == 0 || e.ID.Term != l.last.Term {
			l.runs = append(l.runs, TermRun{First: e.ID.Index, Term: e.ID.Term})
		}
		l.last = e.ID
		l.tailBytes += entryBytes(e)
	}
	l.tail = append(l.tail, entries...)
}

// cut removes all entries from index on. Committed entries stay for ever, so index must be above commit.
func (l *log) cut(index Index) {
	if index <= l.commit || index > l.last.Index {
		panic(fmt.Sprintf("raft: cut at %d, with commit %d and last %s", index, l.commit, l.last))
	}
	keep := max(0, int(index)-int(l.tailFirst()))
	for i := keep; i < len(l.tail); i++ {
		l.tailBytes -= entryBytes(&l.tail[i])
	}
	l.tail = l.tail[:keep:keep]
	term, _ := l.term(index - 1)
	l.runs = l.runs[:sort.Search(len(l.runs), func(i int) bool { return l.runs[i].First >= index })]
	l.last = EntryID{Term: term, Index: index - 1}
	if index <= l.written {
		l.written = index - 1
		if l.truncate == 0 || index < l.truncate {
			l.truncate = index
		}
	}
	l.stable = min(l.stable, index-1)
}

// slice returns entries from first on, at most maxBytes of them but at least one. They must be in memory.
func (l *log) slice(first Index, maxBytes int) (entries []Entry, bytes int) {
	from := int(first - l.tailFirst())
	to := from
	for to < len(l.tail) {
		size := entryBytes(&l.tail[to])
		if to > from && bytes+size > maxBytes {
			break
		}
		bytes += size
		to++
	}
	return l.tail[from:to:to], bytes
}

// unwritten returns the entries that no Write has held yet.
func (l *log) unwritten() []Entry {
	if l.written == l.last.Index {
		return nil
	}
	from := int(l.written + 1 - l.tailFirst())
	return l.tail[from:len(l.tail):len(l.tail)]
}

// bytes returns the size of the entries first … last as far as they are in memory.
func (l *log) bytes(first, last Index) int {
	sum := 0
	for index := max(first, l.tailFirst()); index <= last; index++ {
		sum += entryBytes(&l.tail[index-l.tailFirst()])
	}
	return sum
}

// trim lets go of durable, committed entries until the tail is within its limit.
func (l *log) trim() {
	settled := min(l.stable, l.commit)
	for l.tailBytes > l.maxTailBytes && len(l.tail) > 0 && l.tail[0].ID.Index <= settled {
		l.dropOldest()
	}
	// The array keeps alive what left the slice. Moving the rest when as much has left as may stay bounds that, and with
	// room for as much again no append has to move it in between.
	if l.shadow > l.maxTailBytes {
		l.tail = append(make([]Entry, 0, 2*len(l.tail)+16), l.tail...)
		l.shadow = 0
	}
}

// begin forgets everything and begins after base, which is committed. What was said of the old log's durability is void.
func (l *log) begin(base EntryID) {
	l.base, l.last, l.runs = base, base, nil
	l.tail, l.tailBytes, l.shadow = nil, 0, 0
	l.truncate, l.written, l.stable = 0, base.Index, 0
}

// commitRange returns what may be applied and was not handed out yet, and marks it as handed out.
func (l *log) commitRange() Range {
	r := Range{First: l.handed + 1, Last: min(l.commit, l.stable)}
	if r.Len() == 0 {
		return Range{}
	}
	l.handed = r.Last
	return r
}

// compact forgets everything up to index, keeping its id as base. index must be applied.
func (l *log) compact(index Index) {
	if index <= l.base.Index {
		return
	}
	term, _ := l.term(index)
	if index == l.last.Index {
		l.runs = nil
	} else {
		l.runs = slices.Clone(l.runs[l.run(index+1):])
		l.runs[0].First = index + 1
	}
	l.base = EntryID{Term: term, Index: index}
	for len(l.tail) > 0 && l.tail[0].ID.Index <= index {
		l.dropOldest()
	}
}

// dropOldest takes the oldest entry out of the tail.
func (l *log) dropOldest() {
	size := entryBytes(&l.tail[0])
	l.tailBytes -= size
	l.shadow += size
	l.tail = l.tail[1:]
}
