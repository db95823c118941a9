package transport

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// flusher lets streams of one connection that flush at the same moment share packets.
//
// QUIC begins to make a packet as soon as it is given the first byte. When one Apply ends thirty writes, thirty sessions
// become ready to answer, and each answer would leave in a packet of its own: of what a write costs under load, most is
// the way of packets through sockets. So the first stream that flushes does not write at once. It lets those goroutines
// run that are ready, which add theirs and go on, and then writes for all. Nobody waits for a timer or for another
// goroutine: a stream that is alone writes as soon as it runs again, which is at once.
type flusher struct {
	mu     sync.Mutex // guards what follows
	pieces []piece    // what was added and not written, in order
	bytes  []byte     // of the pieces, one after the other

	// turn is held by whoever writes, so that what was added first is written first. What follows is its holder's.
	turn        sync.Mutex
	wasPieces   []piece
	wasGathered []byte
}

// piece is what one flush of a lane added.
type piece struct {
	lane *lane
	size int
}

// lane is a stream as its flusher sees it.
type lane struct {
	to writer
	// failed hears of an error of a write that nobody waits for.
	failed func(error)
	// held is what QUIC had no room for. Only who has the turn sets it.
	held atomic.Pointer[held]
}

// held is a write that waits for flow control, in a goroutine of its own, so that it holds up no other stream.
type held struct{ done chan struct{} }

// flush sends frames, which may be changed afterwards. It waits while earlier ones are held, and for nothing else.
func (f *flusher) flush(l *lane, frames []byte) {
	l.awaitHeld()
	if f.add(l, frames) {
		runtime.Gosched()
		f.write()
	}
}

// add reports whether the caller has to write: it is the first, or there is so much that nobody should add more.
func (f *flusher) add(l *lane, frames []byte) (write bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pieces = append(f.pieces, piece{l, len(frames)})
	f.bytes = append(f.bytes, frames...)
	return len(f.pieces) == 1 || len(f.bytes) >= flushBytes
}

// write writes what was added. When it returns, all that was added before the call is written, held or has failed.
func (f *flusher) write() {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.mu.Lock()
	pieces, bytes := f.pieces, f.bytes
	f.pieces, f.bytes = f.wasPieces[:0], f.wasGathered[:0]
	f.mu.Unlock()
	rest := bytes
	for _, p := range pieces {
		p.lane.write(rest[:p.size])
		rest = rest[p.size:]
	}
	clear(pieces)
	if cap(bytes) > keptBuffer {
		pieces, bytes = nil, nil
	}
	f.wasPieces, f.wasGathered = pieces, bytes
}

// settle is for a stream that is about to write by itself, or to end: what it flushed goes first.
func (f *flusher) settle(l *lane) {
	f.write()
	l.awaitHeld()
}

func (l *lane) awaitHeld() {
	for h := l.held.Load(); h != nil; h = l.held.Load() {
		<-h.done
	}
}

// write hands frames to QUIC, which copies them, or holds them if it has no room or holds some already.
func (l *lane) write(frames []byte) {
	before := l.held.Load()
	if before == nil {
		switch err := l.to.TryWriteAll(frames); {
		case err == nil:
			return
		case !errors.Is(err, quic.ErrWouldBlock):
			l.failed(err)
			return
		}
	}
	mine, frames := &held{make(chan struct{})}, slices.Clone(frames)
	l.held.Store(mine)
	go func() {
		if before != nil {
			<-before.done
		}
		if _, err := l.to.Write(frames); err != nil {
			l.failed(err)
		}
		l.held.CompareAndSwap(mine, nil)
		close(mine.done)
	}()
}
