package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// spareDelay is how long after the start the first spare is filled: until then the disk is the node's, which has
	// clients to answer. A log that needs one earlier asks for it.
	spareDelay = 200 * time.Millisecond
	// spareRetry is the pause after an attempt that failed.
	spareRetry = time.Second
	// fillSync is after how many bytes a filling file is synced, so that a record's sync never waits for more: beside
	// one sync of a large file, others were measured to take 134 to 217 ms. It is also what one step writes.
	fillSync = 1 << 20
)

// zeros is what segments are filled with. It is never written to.
var zeros [64 << 10]byte

// spare keeps one segment ready that was filled with zeros in advance, under the name spareName. A sync of a file that
// grows, or whose blocks were never written, costs twice as much. A segment that Compact removes may take its place,
// which saves to write all of it: one is kept for that, under the name reserveName.
//
// It has no goroutine: what is to be done is done by steps, each of which writes fillSync bytes at most and asks schedule
// for the next one.
//
// The name belongs to the steps while the spare is missing, to nobody while it is ready, and to the appender while it is
// taken: from take until the file has another name and the appender calls again.
type spare struct {
	files    Files
	dir      string
	size     int64
	schedule func(after time.Duration, do func())

	// file is the spare that is being filled and filled how far it is, in bytes; nil between two attempts. They belong to
	// the step that runs, of which there is one at most, and after it to stop.
	file   File
	filled int64
	// running counts the step that runs. Added to under mu while closed is false; stop waits for it.
	running sync.WaitGroup

	mu    sync.Mutex
	state spareState
	// old says whether there is a reserve. While it is being made, it is taken.
	old spareState
	// started says that steps may be scheduled: before, Open is at work.
	started bool
	// err is why the newest attempt failed, nil if it did not.
	err error
	// turn names the step that is scheduled. It changes when that step begins and when another takes its place: a call
	// that comes late or twice does nothing.
	turn uint64
	// early says that the step of this turn only waits for the node to have started: who needs a spare may hurry it.
	early  bool
	closed bool
}

type spareState int

const (
	spareMissing spareState = iota
	spareReady
	spareTaken
)

func newSpare(o *Options) *spare {
	return &spare{files: o.Files, dir: o.Dir, size: o.SegmentSize, schedule: o.Schedule}
}

// adopt takes over the spare or the reserve of an earlier process. Its blocks are durable: it got its name after they were.
func (p *spare) adopt(name string) error {
	file, err := p.files.Open(filepath.Join(p.dir, name), 0)
	if err != nil {
		return fmt.Errorf("opening the spare segment: %w", err)
	}
	size, err := file.Size()
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("opening the spare segment: %w", err)
	}
	switch {
	case size != p.size:
	case name == spareName:
		p.state = spareReady
	default:
		p.old = spareReady
	}
	return nil
}

// start schedules the first step, if there is anything to do.
func (p *spare) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started = true
	if p.state == spareMissing {
		p.early = true
		p.next(spareDelay)
	}
}

// stop waits for a step that is under way and makes all later ones do nothing.
func (p *spare) stop() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.running.Wait()
	if p.file != nil {
		// What cannot be removed is not part of the log, and the next Open removes it.
		_ = p.abandon()
	}
}

// next schedules a step in the place of one that was scheduled before. mu is held.
func (p *spare) next(after time.Duration) {
	p.turn++
	turn := p.turn
	p.schedule(after, func() { p.step(turn) })
}

// take gives the spare to the appender, if there is one. If not, the first step hurries.
func (p *spare) take() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == spareReady {
		p.state = spareTaken
		return true
	}
	if p.early {
		p.early = false
		p.next(0)
	}
	return false
}

// again says that the spare that was taken has another name now.
func (p *spare) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = spareMissing
	p.next(0)
}

// reserve reports whether an old segment is wanted. If so, the caller gives it its name and calls reserved.
func (p *spare) reserve() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.started || p.closed || p.old != spareMissing {
		return false
	}
	p.old = spareTaken
	return true
}

// reserved says whether the old segment has its name now, durably.
func (p *spare) reserved(done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.old = spareMissing
	if done {
		p.old = spareReady
	}
}

// takeReserve makes the reserve the spare, if there is one.
func (p *spare) takeReserve() (done bool, err error) {
	p.mu.Lock()
	ready := p.old == spareReady
	if ready {
		p.old = spareMissing
	}
	p.mu.Unlock()
	if !ready {
		return false, nil
	}
	err = p.files.Rename(filepath.Join(p.dir, reserveName), filepath.Join(p.dir, spareName))
	if err == nil {
		err = p.files.SyncDir(p.dir)
	}
	if err != nil {
		return false, fmt.Errorf("making an old segment the spare: %w", err)
	}
	return true, nil
}

// failure returns why the newest attempt failed.
func (p *spare) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// step does the work of one turn, if it is still due, and schedules the next.
func (p *spare) step(turn uint64) {
	if !p.begin(turn) {
		return
	}
	defer p.running.Done()
	full, err := p.fill()
	p.mu.Lock()
	defer p.mu.Unlock()
	if full || err != nil {
		p.err = err
	}
	switch {
	case full:
		p.state = spareReady
	case p.closed:
	case err != nil:
		p.next(spareRetry)
	default:
		p.next(0)
	}
}

// begin reports whether the step of this turn is still due, and takes the turn.
func (p *spare) begin(turn uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || turn != p.turn {
		return false
	}
	p.turn++
	p.early = false
	p.running.Add(1)
	return true
}

// fill writes the next part of the spare, and gives it its name when it is full.
func (p *spare) fill() (full bool, err error) {
	part := filepath.Join(p.dir, sparePart)
	if p.file == nil {
		if done, err := p.takeReserve(); done || err != nil {
			return done, err
		}
		p.filled = 0
		if p.file, err = p.files.Open(part, os.O_CREATE|os.O_TRUNC); err != nil {
			return false, fmt.Errorf("making a spare segment: %w", noRoom(err))
		}
	}
	upTo := min(p.filled+fillSync, p.size)
	if err = fill(p.file, p.filled, upTo); err == nil {
		if p.filled = upTo; upTo < p.size {
			return false, nil
		}
		err = p.file.Close()
		p.file = nil
	}
	if err == nil {
		err = p.files.Rename(part, filepath.Join(p.dir, spareName))
	}
	if err == nil {
		err = p.files.SyncDir(p.dir)
	}
	if err != nil {
		return false, fmt.Errorf("making a spare segment: %w", noRoom(errors.Join(err, p.abandon())))
	}
	return true, nil
}

// abandon gives an unfinished spare back.
func (p *spare) abandon() error {
	var failed error
	if p.file != nil {
		failed = p.file.Close()
		p.file = nil
	}
	return errors.Join(failed, discard(p.files, filepath.Join(p.dir, sparePart)))
}

// fill writes zeros from offset from up to end and syncs them, in parts of fillSync.
func fill(file File, from, end int64) error {
	for synced := from; from < end; {
		n := min(end-from, int64(len(zeros)))
		if _, err := file.WriteAt(zeros[:n], from); err != nil {
			return err
		}
		if from += n; from-synced >= fillSync || from == end {
			if err := file.Sync(); err != nil {
				return err
			}
			synced = from
		}
	}
	return nil
}
