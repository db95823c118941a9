package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/rsqld/rsqld/raft"
)

// survey is what the files of a log hold, damaged or not, as far as checksums prove it. Nothing is changed by it. It reads
// what Open refuses to: every whole record, also behind damage.
//
// A record says which entry it follows, so what is known behind damage is a log of its own, whose base is known but not
// what was before. These are the epochs:
//
//	records   1 2 3 4 ▒ 6 7 ▒ ▒ 10 11
//	epochs    ├─────┤   ├─┤     ├───┤
//
// The last epoch ends where the log ended. A damaged record may have added entries, removed some, voted, or all three.
type survey struct {
	// dead are the segments before the newest beginning of the log, live those from there on. Both by sequence.
	dead, live []*surveyed
	epochs     []*epoch
	// tip is that of the newest record, marker or header. Hard state is whole in each of them, so that it is not lost
	// with a record in front of it.
	tip tip
	// damage is the first one, nil if the log is whole.
	damage *CorruptionError
	// blind says why the end of the log cannot be known, nil if it is: then the newest hard state is unknown as well.
	blind error
	// torn is the length of a last write that was torn, in bytes.
	torn int64
}

// surveyed is one file.
type surveyed struct {
	*segment
	// named is the first index that its name tells, records how many whole ones it has, first and last the indexes of
	// their entries, zero if they have none.
	named       raft.Index
	records     int
	first, last raft.Index
	// marked says that a marker follows its last record: then nothing does.
	marked bool
	// bytes is the size of the file.
	bytes int64
}

// epoch is a part of the log without a gap, in its own index.
type epoch struct{ index }

func newEpoch(base raft.EntryID) *epoch {
	return &epoch{index{base: base, last: base}}
}

// look surveys a log. The caller closes it, also after an error.
func look(w *WAL) (*survey, error) {
	names, err := w.options.Files.List(w.options.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return &survey{}, fmt.Errorf("%w in %s", ErrNoLog, w.options.Dir)
	}
	if err != nil {
		return &survey{}, fmt.Errorf("listing the log: %w", err)
	}
	found, err := w.find(names)
	live, dead := split(found)
	v := &survey{}
	for _, s := range dead {
		v.dead = append(v.dead, &surveyed{segment: s, named: nameIndex(s.name)})
	}
	for _, s := range live {
		v.live = append(v.live, &surveyed{segment: s, named: nameIndex(s.name)})
	}
	if err != nil {
		return v, err
	}
	for i := range v.live {
		if err := v.read(i); err != nil {
			return v, err
		}
	}
	v.checkStart()
	return v, nil
}

// checkStart notes a log without a segment that it can begin with: Compact leaves no such log, so older ones are missing.
func (v *survey) checkStart() {
	for _, s := range v.live {
		if !s.rewritten {
			return
		}
	}
	if len(v.live) > 0 && v.damage == nil {
		s := v.live[0]
		v.damage = &CorruptionError{Segment: s.name, First: s.named, Err: errRewritten}
	}
}

// truncated marks the segments whose header a truncation makes wrong.
func (v *survey) truncated(by *surveyed, from raft.Index) {
	for _, s := range v.live {
		if from != 0 && s.base.Index >= from {
			s.rewritten = true
		}
		if s == by {
			return
		}
	}
}

func nameIndex(name string) raft.Index {
	first, _, _ := parseSegmentName(name) // find opens only what has such a name
	return first
}

func (v *survey) close() error {
	var errs []error
	for _, files := range [][]*surveyed{v.dead, v.live} {
		for _, s := range files {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}

// newest is the epoch that the log ends with.
func (v *survey) newest() *epoch { return v.epochs[len(v.epochs)-1] }

// last is the last entry known so far.
func (v *survey) last() raft.EntryID {
	if len(v.epochs) == 0 {
		return raft.EntryID{}
	}
	return v.newest().last
}

// note keeps the first damage.
func (v *survey) note(s *surveyed, offset int64, until raft.Index, cause error) {
	if v.damage != nil {
		return
	}
	first := v.last().Index + 1
	if len(v.epochs) == 0 {
		first = s.named
	}
	v.damage = &CorruptionError{Segment: s.name, Offset: offset, First: first, Last: until, Err: cause}
}

// read surveys one live file.
func (v *survey) read(i int) error {
	s, newest := v.live[i], i == len(v.live)-1
	size, err := s.file.Size()
	if err != nil {
		return fmt.Errorf("reading %s: %w", s.name, err)
	}
	s.bytes = size
	b := make([]byte, min(size, maxFile))
	if err := readAt(s.file, b); err != nil {
		return fmt.Errorf("reading %s: %w", s.name, err)
	}
	if i > 0 && s.sequence != v.live[i-1].sequence+1 {
		v.note(v.live[i-1], v.live[i-1].end, 0, missing(v.live[i-1].sequence+1))
	}
	whole := s.damage == nil || errors.Is(s.damage, errLength)
	if s.damage != nil {
		v.note(s, 0, 0, s.damage)
	}
	switch {
	case whole:
		v.enter(i)
	case !s.salvage(b):
		if newest {
			v.blind = fmt.Errorf("%s: %w, and without it no record behind it can be believed", s.name, errHeader)
		}
		return nil
	}
	if !whole {
		s.size = s.bytes // the header knows better, unless the file was cut as well
	}
	limit := min(s.limit(), int64(len(b)))
	v.records(s, b[:limit])
	v.second(s, b[limit:], newest)
	if newest {
		v.finish(s, b[:limit], whole)
	}
	return nil
}

func missing(sequence uint64) error { return fmt.Errorf("segment %d is missing", sequence) }

// enter goes on with a segment whose header is whole: where the log was, or else in an epoch that the header begins.
func (v *survey) enter(i int) {
	s := v.live[i]
	if len(v.epochs) > 0 && s.tip == v.tip && s.base == v.last() {
		return
	}
	if i > 0 {
		v.note(v.live[i-1], v.live[i-1].end, s.base.Index, nil)
	}
	e := newEpoch(s.base)
	if s.configuration.Index != 0 {
		e.configurations = []raft.ConfigurationAt{s.configuration}
	}
	v.epochs = append(v.epochs, e)
	v.tip = s.tip
}

// salvage finds the salt of a segment whose header is damaged elsewhere: the right one makes some record whole.
func (s *surveyed) salvage(b []byte) bool {
	if len(b) < headerSize {
		return false
	}
	s.setSalt(binary.LittleEndian.Uint64(b[saltOffset:]))
	for at := headerSize; at+recordHeader <= len(b); at += alignment {
		if _, ok := intact(b[at:], s.placed(int64(at))); ok {
			return true
		}
	}
	return false
}

// records reads the whole records of a segment, also those behind damage. s.end is behind the last one then, without the
// marker. Entries are not kept.
func (v *survey) records(s *surveyed, b []byte) {
	s.end = headerSize
	for at := int64(headerSize); at+recordHeader <= int64(len(b)); {
		r := record{}
		if r.decode(b[at:], s.placed(at)) != nil || r.number <= v.tip.number {
			at += alignment
			continue
		}
		if !v.follows(&r) {
			v.note(s, s.end, r.before.Index+raft.Index(len(r.entries)), nil)
			v.epochs = append(v.epochs, newEpoch(r.before))
			v.tip = tip{number: r.number - 1, chain: r.previous, hard: r.hard}
		}
		if r.flags&flagMarker != 0 {
			// The next record stands in its place, unless the disk has lost that one: then others follow.
			v.tip.hard = r.hard
			s.marked = true
			at += int64(r.length)
			continue
		}
		if err := v.add(s, &r, b[at:at+int64(r.length)], at); err != nil {
			v.note(s, at, r.before.Index+raft.Index(len(r.entries)), err)
			at += alignment
			continue
		}
		at += int64(r.length)
		s.end, s.marked = at, false
	}
}

// second takes what the second marker proves.
func (v *survey) second(s *surveyed, b []byte, newest bool) {
	r, ok := secondMarker(b, s.placed(s.limit()))
	if !ok || len(v.epochs) > 0 && r.number <= v.tip.number {
		return // older than the newest record
	}
	if !v.follows(&r) {
		v.note(s, s.end, r.before.Index, nil)
		v.epochs = append(v.epochs, newEpoch(r.before))
		v.tip = tip{number: r.number - 1, chain: r.previous, hard: r.hard}
	}
	if newest && r.flags&flagSealed != 0 {
		cause := missing(s.sequence + 1)
		v.note(s, s.end, 0, cause)
		v.blind = fmt.Errorf("%s is followed by nothing: %w", s.name, cause)
	}
}

// follows reports whether a record continues the newest epoch.
func (v *survey) follows(r *record) bool {
	if len(v.epochs) == 0 || r.previous != v.tip.chain || r.number != v.tip.number+1 {
		return false
	}
	e := v.newest()
	below := r.truncateFrom != 0 && r.truncateFrom <= e.base.Index // add moves the base
	return below || r.before == e.end(r.truncateFrom)
}

// add enters a record into the newest epoch.
func (v *survey) add(s *surveyed, r *record, b []byte, at int64) error {
	e := v.newest()
	if r.truncateFrom != 0 && r.truncateFrom <= e.base.Index {
		// All that the epoch holds is cut. What the log ends with then is known again.
		e = newEpoch(r.before)
		v.epochs[len(v.epochs)-1] = e
	}
	v.truncated(s, r.truncateFrom)
	own := e.segment(s)
	if err := e.add(r, own, at); err != nil {
		return err
	}
	e.cache.truncate(0)
	v.tip = tip{r.number, chain(r.previous, b), r.hard}
	s.records++
	if len(r.entries) > 0 {
		if s.first == 0 {
			s.first = r.first()
		}
		s.last = r.before.Index + raft.Index(len(r.entries))
	}
	return nil
}

// segment returns the epoch's own view of a file: which of its records hold live entries differs among epochs.
func (e *epoch) segment(s *surveyed) *segment {
	if n := len(e.segments); n > 0 && e.segments[n-1].name == s.name {
		return e.segments[n-1]
	}
	own := &segment{name: s.name, file: s.file, seed: s.seed}
	own.base = e.last
	e.segments = append(e.segments, own)
	return own
}

// finish looks behind the last whole record of the newest segment: whether what is there was torn, and whether more may
// have been there.
func (v *survey) finish(s *surveyed, b []byte, whole bool) {
	from := s.end
	if s.marked {
		from += recordHeader
	}
	rest := b[min(from, int64(len(b))):]
	recycled := !whole || s.recycled // who knows
	if recycled {
		v.torn = tornLength(rest, s.placed(from), v.tip.number+1)
	} else {
		v.torn = lastNonZero(rest, 0)
	}
	// A record that was cut off began where the whole ones end. Zeros say that there was none, as far as anything does.
	clean := s.marked || !recycled && len(rest) >= recordHeader && lastNonZero(rest, 0) == 0
	if whole && s.bytes < s.size && !clean {
		v.blind = fmt.Errorf("%s: %w, and records may have been in the part that is gone", s.name, s.damage)
	}
}
