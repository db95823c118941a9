package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A marker is an empty record that is not synced. What a valid one proves is that the records before it were durable: it
// covers the newest of them, behind which nothing else stands yet. Two are written, in pages that are not the same, so
// that a page which is lost does not take the newest records and the only proof of them:
//
//	header │ records … newest │ marker │ zeros …              │ second marker
//	                                                          └ lastPage before the end of the file
//
// The next record takes the first one's place, because what stands behind a marker could survive a loss of power that
// the marker does not. The second one stays: it proves no more than what was durable when it was written.

// Mark writes the markers: once they reach the disk, damage to the newest record is told from a torn write. The appender
// calls it when it has been idle for a while; a second call without an Append does nothing. An error poisons the log;
// that the disk has no room for markers is none.
func (w *WAL) Mark() error {
	if err := w.enter(); err != nil {
		return err
	}
	defer w.busy.Done()
	if w.marked {
		return nil
	}
	s := w.active
	for _, at := range [...]int64{s.end, s.limit()} {
		err := w.writeMarker(s, at, flagMarker)
		if errors.Is(err, ErrNoRoom) { // the file was made for one large record and is not filled
			return nil
		}
		if err != nil {
			return w.poison(err)
		}
	}
	w.marked = true
	return nil
}

// seal writes into a segment that it is not the last one, so that the loss of the file after it is noticed.
func (w *WAL) seal(s *segment) error {
	err := w.writeMarker(s, s.limit(), flagMarker|flagSealed)
	if errors.Is(err, ErrNoRoom) {
		return nil
	}
	return err
}

func (w *WAL) writeMarker(s *segment, at int64, flags uint16) error {
	r := record{flags: flags, previous: w.tip.chain, number: w.tip.number + 1, hard: w.tip.hard}
	w.mu.Lock()
	r.before = w.index.last
	w.mu.Unlock()
	if _, err := s.file.WriteAt(r.append(make([]byte, 0, recordHeader), s.placed(at)), at); err != nil {
		return fmt.Errorf("writing the marker to %s at %d: %w", s.name, at, noRoom(err))
	}
	return nil
}

// secondMarker returns the marker in the last page of a segment, given from there on, or ok=false.
func secondMarker(b []byte, seed uint32) (r record, ok bool) {
	if len(b) > lastPage {
		return r, false
	}
	ok = r.decode(b, seed) == nil && r.flags&flagMarker != 0
	return r, ok
}

// proves returns the number of the newest record that the record at the start of b proves to have been durable, itself
// included unless it is a marker. b is intact.
func proves(b []byte) uint64 {
	number := binary.LittleEndian.Uint64(b[24:])
	if binary.LittleEndian.Uint16(b[8:])&flagMarker != 0 {
		number--
	}
	return number
}
