package replica

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rsqld/rsqld/raft"
)

// applierLoop is the applier goroutine: it gives an Applier its turns and reports failures to the loop.
type applierLoop struct {
	*Applier
	inbox *inbox
	// work has room for one signal: more is committed, or it is time to retry.
	work  chan struct{}
	retry atomic.Bool
	// restoring is the snapshot that is to be installed, or nil.
	restoring atomic.Pointer[arrival]
	// ended is closed when the machine is not touched any more.
	ended chan struct{}
}

func newApplierLoop(a *Applier, inbox *inbox) *applierLoop {
	return &applierLoop{Applier: a, inbox: inbox, work: make(chan struct{}, 1), ended: make(chan struct{})}
}

// restore asks for the installation of a snapshot, between two batches.
func (a *applierLoop) restore(snapshot *arrival) {
	a.restoring.Store(snapshot)
	a.signal()
}

// Commit implements Committer.
func (a *applierLoop) Commit(index raft.Index) {
	a.Applier.Commit(index)
	a.signal()
}

// Retry implements Committer.
func (a *applierLoop) Retry() {
	a.retry.Store(true)
	a.signal()
}

func (a *applierLoop) signal() {
	select {
	case a.work <- struct{}{}:
	default:
	}
}

func (a *applierLoop) run(stopping <-chan struct{}) {
	defer close(a.ended)
	paused := false
	for {
		select {
		case <-stopping:
			return
		case <-a.work:
		}
		if a.install() && paused {
			a.report(nil)
			paused = false
		}
		if paused && !a.retry.Swap(false) {
			continue
		}
		paused = a.drain(stopping, paused)
	}
}

// install installs the snapshot that waits, if one does, and reports whether it was installed.
func (a *applierLoop) install() bool {
	snapshot := a.restoring.Swap(nil)
	if snapshot == nil {
		return false
	}
	err := a.Applier.Restore(snapshot.meta, snapshot.content)
	// The inbox refuses only when the replica stops, and then nobody waits.
	_ = a.inbox.put(func(arrived *arrivals) error {
		arrived.restored = append(arrived.restored, err)
		return nil
	})
	a.inbox.signal()
	return err == nil
}

// drain applies all that is committed and reports whether a failure ended it. paused says that the newest attempt
// before this one failed.
func (a *applierLoop) drain(stopping <-chan struct{}, paused bool) (failed bool) {
	for more := true; more; {
		select {
		case <-stopping:
			return false
		default:
		}
		var err error
		if more, err = a.Step(); err != nil {
			a.report(err)
			return true
		}
		if paused {
			a.report(nil)
			paused = false
		}
	}
	return false
}

// report tells the loop of a failure, or with nil that it is over.
func (a *applierLoop) report(err error) {
	// The inbox refuses only when the replica stops, and then nobody cares.
	_ = a.inbox.put(func(arrived *arrivals) error {
		arrived.applying = append(arrived.applying, err)
		return nil
	})
	a.inbox.signal()
}

// loader reads entries for peers that lag, so that the loop does not wait for the disk. The queue holds one request a
// peer, the newest: the core repeats one that takes long.
type loader struct {
	log   EntryReader
	inbox *inbox
	work  chan struct{}

	mu    sync.Mutex
	queue []raft.LoadRange
}

func newLoader(log EntryReader, inbox *inbox) *loader {
	return &loader{log: log, inbox: inbox, work: make(chan struct{}, 1)}
}

// Load implements Loader.
func (l *loader) Load(load raft.LoadRange) {
	l.mu.Lock()
	l.queue = slices.DeleteFunc(l.queue, func(old raft.LoadRange) bool { return old.To == load.To })
	l.queue = append(l.queue, load)
	l.mu.Unlock()
	select {
	case l.work <- struct{}{}:
	default:
	}
}

func (l *loader) run(stopping <-chan struct{}) {
	for {
		select {
		case <-stopping:
			return
		case <-l.work:
		}
		for _, load := range l.take() {
			entries, err := l.log.Entries(load.Range.First, load.Range.Last, load.MaxBytes)
			// The inbox refuses only when the replica stops, and then nobody waits for the entries.
			_ = l.inbox.put(func(arrived *arrivals) error {
				arrived.loaded = append(arrived.loaded, loaded{load, entries, err})
				return nil
			})
			l.inbox.signal()
		}
	}
}

func (l *loader) take() []raft.LoadRange {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := slices.Clone(l.queue)
	l.queue = l.queue[:0]
	return queue
}
