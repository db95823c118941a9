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
	// one sync of a large file, others were measured to take 134 to 217 ms.
	fillSync = 1 << 20
)

// zeros is what segments are filled with. It is never written to.
var zeros [64 << 10]byte

// spare keeps one segment ready that was filled with zeros in advance, under the name spareName. A sync of a file that
// grows, or whose blocks were never written, costs twice as much.
//
// The name belongs to the goroutine while the spare is missing, to nobody while it is ready, and to the appender while it
// is taken: from take until the file has another name and the appender calls again.
type spare struct {
	files Files
	dir   string
	size  int64

	// wanted has room for one signal: another spare is due, or the first one is due now.
	wanted  chan struct{}
	closing chan struct{}
	group   sync.WaitGroup

	mu    sync.Mutex
	state spareState
	// err is why the newest attempt failed, nil if it did not.
	err error
}

type spareState int

const (
	spareMissing spareState = iota
	spareReady
	spareTaken
)

func newSpare(o *Options) *spare {
	return &spare{files: o.Files, dir: o.Dir, size: o.SegmentSize, wanted: make(chan struct{}, 1), closing: make(chan struct{})}
}

// adopt takes over the spare of an earlier process. Its zeros are durable: it got its name after they were.
func (p *spare) adopt() error {
	file, err := p.files.Open(filepath.Join(p.dir, spareName), 0)
	if err != nil {
		return fmt.Errorf("opening the spare segment: %w", err)
	}
	size, err := file.Size()
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("opening the spare segment: %w", err)
	}
	if size == p.size {
		p.state = spareReady
	}
	return nil
}

func (p *spare) start() { p.group.Go(p.run) }

func (p *spare) stop() {
	close(p.closing)
	p.group.Wait()
}

// take gives the spare to the appender, if there is one. If not, the goroutine hurries.
func (p *spare) take() bool {
	p.mu.Lock()
	ready := p.state == spareReady
	if ready {
		p.state = spareTaken
	}
	p.mu.Unlock()
	if !ready {
		p.signal()
	}
	return ready
}

// again says that the spare that was taken has another name now.
func (p *spare) again() {
	p.mu.Lock()
	p.state = spareMissing
	p.mu.Unlock()
	p.signal()
}

func (p *spare) signal() {
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

func (p *spare) missing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == spareMissing
}

// failure returns why the newest attempt failed.
func (p *spare) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// run fills a spare whenever it is missing. A signal may be older than the spare that is there: only state counts.
func (p *spare) run() {
	timer := time.NewTimer(spareDelay)
	defer timer.Stop()
	if p.missing() && !p.wait(timer.C, p.wanted) {
		return
	}
	for {
		for !p.missing() {
			if !p.wait(nil, p.wanted) {
				return
			}
		}
		err := p.fill()
		if errors.Is(err, errStopped) {
			return
		}
		p.mu.Lock()
		if p.err = err; err == nil {
			p.state = spareReady
		}
		p.mu.Unlock()
		if err != nil {
			timer.Reset(spareRetry)
			if !p.wait(timer.C, nil) {
				return
			}
		}
	}
}

// wait returns false if the log closes before either of the others happens.
func (p *spare) wait(after <-chan time.Time, wanted <-chan struct{}) bool {
	select {
	case <-after:
	case <-wanted:
	case <-p.closing:
		return false
	}
	return true
}

// fill makes the spare.
func (p *spare) fill() error {
	part := filepath.Join(p.dir, sparePart)
	file, err := p.files.Open(part, os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return fmt.Errorf("making a spare segment: %w", noRoom(err))
	}
	if err = errors.Join(fill(file, 0, p.size, p.closing), file.Close()); err == nil {
		err = p.files.Rename(part, filepath.Join(p.dir, spareName))
	}
	if err == nil {
		err = p.files.SyncDir(p.dir)
	}
	if err != nil {
		return fmt.Errorf("making a spare segment: %w", noRoom(errors.Join(err, discard(p.files, part))))
	}
	return nil
}

// errStopped says that the log was closed before a spare was ready.
var errStopped = errors.New("the log closes")

// fill writes zeros from offset from up to size and syncs them, in steps of fillSync. It ends early when stop is closed.
func fill(file File, from, size int64, stop <-chan struct{}) error {
	for synced := from; from < size; {
		select {
		case <-stop:
			return errStopped
		default:
		}
		n := min(size-from, int64(len(zeros)))
		if _, err := file.WriteAt(zeros[:n], from); err != nil {
			return err
		}
		if from += n; from-synced >= fillSync || from == size {
			if err := file.Sync(); err != nil {
				return err
			}
			synced = from
		}
	}
	return nil
}
