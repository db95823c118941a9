package engine

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/sqlite"
)

// checkpointBytes is the size of SQLite's write-ahead log at which it is moved into the database, and by which it must
// have grown before another attempt is made that an old read may spoil.
const checkpointBytes = 16 << 20

// The pace of the first step. A checkpoint behind a long read moves gigabytes, and what one sync takes with it every
// other sync on the disk waits for: more than a tick of the raft core is too much.
const (
	paceBytes    = 2 << 20
	longestPause = 100 * time.Millisecond
)

// The log is begun anew only when no read uses it, and where one long read follows the other it never is. From longLog on
// the moment at which no read runs is made to last as long as it takes; from tooLongLog on reads that come are held up until
// there is such a moment.
const (
	longLog    = 64 << 20
	tooLongLog = 1 << 30
	// tailPatience bounds the wait for the next batch, which moves the tail.
	tailPatience = time.Second
	// shortTail is what is left to the writer, in frames, and mostRounds how often the rest of a log that grows meanwhile is
	// moved beside it for that.
	shortTail  = 256
	mostRounds = 8
)

// frameBytes is the size of one page in the write-ahead log (sqlite.org/fileformat2.html#walformat).
const frameBytes = sqlite.PageSize + 24

// checkpointNoop only reports how long the log is (SQLITE_CHECKPOINT_NOOP, sqlite.org/c3ref/wal_checkpoint_v2.html).
const checkpointNoop sqlite.CheckpointMode = -1

// checkpointer moves SQLite's write-ahead log into the database in two steps: nearly all of it on a connection of its
// own while the writer goes on, then the tail on the writer between two batches. Only a log that is moved whole is begun
// anew, and only the writer can move the tail, for no frame follows it.
//
// One step on the writer alone (SQLite's automatic checkpoint) halves the rate of writes and makes every thousandth
// batch wait for the disk; one step beside it alone never catches up, and the log grows without end.
type checkpointer struct {
	engine *Engine
	wake   chan struct{}
	// leave asks the goroutine to close its connection, and gets the outcome.
	leave chan chan error
	stop  chan struct{}
	done  sync.WaitGroup
	// conn is the checkpointer's own connection, nil until the first use. It is the goroutine's.
	conn *sqlite.Conn

	// running is set from the moment the goroutine is woken until it has finished.
	running atomic.Bool
	// tail says that the writer should move what is left; tailed gets a token when it has.
	tail   atomic.Bool
	tailed chan struct{}
	// length is how long the log was when the goroutine was woken, in bytes.
	length atomic.Int64
	// holding is the number of the oldest read at the last attempt, which may have held it back; zero: none does.
	holding atomic.Uint64
	// moved says that this read has ended.
	moved atomic.Bool
	// next is the length of the log, in frames, at which another attempt is made. It is the applier's.
	next int
	// failing says that the last attempt failed. It is held so that only changes are logged.
	failing atomic.Bool
}

func startCheckpointer(e *Engine) *checkpointer {
	c := &checkpointer{engine: e, wake: make(chan struct{}, 1), leave: make(chan chan error), tailed: make(chan struct{}, 1), stop: make(chan struct{}), next: checkpointBytes / frameBytes}
	c.done.Go(c.loop)
	return c
}

// afterBatch looks how long the log is and wakes the goroutine when it is time. The applier calls it.
func (c *checkpointer) afterBatch(w *writer) {
	if c.running.Load() || c.tail.Load() {
		return
	}
	const step = checkpointBytes / frameBytes
	if w.frames < step {
		c.next = step // the log was begun anew
		return
	}
	frames, inDatabase, err := w.conn.WALCheckpoint(checkpointNoop)
	if err != nil {
		c.report(fmt.Errorf("looking at the write-ahead log: %w", err))
		return
	}
	if left := frames - inDatabase; left < step || frames < c.next && !c.moved.Load() {
		return
	}
	c.next = frames + step
	c.holding.Store(c.engine.readers.oldest())
	c.moved.Store(false)
	c.running.Store(true)
	c.length.Store(int64(frames) * frameBytes)
	c.wake <- struct{}{}
}

// beforeBatch moves the tail of the log. The applier calls it when no transaction is open.
func (c *checkpointer) beforeBatch(w *writer) {
	if !c.tail.Swap(false) {
		return
	}
	_, _, err := w.conn.WALCheckpointPassive()
	if refused := w.conn.TakeRefusal(); err == nil {
		err = refused // either way: the rows are in the log
	}
	c.report(err)
	select {
	case c.tailed <- struct{}{}:
	default:
	}
}

// readEnded notes that a read has ended.
func (c *checkpointer) readEnded(began uint64) {
	if c.holding.CompareAndSwap(began, 0) {
		c.moved.Store(true)
	}
}

func (c *checkpointer) loop() {
	for {
		select {
		case <-c.wake:
			c.move()
			c.running.Store(false)
		case outcome := <-c.leave:
			outcome <- c.disconnect()
		case <-c.stop:
			return
		}
	}
}

// abandon lets go of the database file, because another one takes its place. It needs Engine.applying.
func (c *checkpointer) abandon() error {
	outcome := make(chan error, 1)
	select {
	case c.leave <- outcome:
	case <-c.stop:
		return ErrClosed
	}
	c.tail.Store(false)
	c.next = checkpointBytes / frameBytes
	return <-outcome
}

func (c *checkpointer) disconnect() error {
	if c.conn == nil {
		return nil
	}
	conn := c.conn
	c.conn = nil
	return conn.Close()
}

// move moves the log. If it is long, it sees to it that it can be begun anew.
func (c *checkpointer) move() {
	_, err := c.beside()
	if length := c.length.Load(); err == nil && length >= longLog {
		quiet, resume := c.engine.readers.hold(length >= tooLongLog)
		defer resume()
		if c.await(quiet, c.engine.config.ReaderTimeout) {
			err = c.nearlyAll() // what has come since
			defer c.await(c.tailed, tailPatience)
		}
	}
	c.report(err)
	select {
	case <-c.tailed: // of an earlier attempt
	default:
	}
	c.tail.Store(err == nil)
}

// await waits for a channel for a while, unless the file is to be left.
func (c *checkpointer) await(done <-chan struct{}, patience time.Duration) bool {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case outcome := <-c.leave:
		outcome <- c.disconnect()
	case <-timer.C:
	case <-c.stop:
	}
	return false
}

// nearlyAll moves the log beside the writer, which adds to it, until little is left.
func (c *checkpointer) nearlyAll() error {
	for range mostRounds {
		if left, err := c.beside(); err != nil || left <= shortTail {
			return err
		}
	}
	return nil
}

// beside runs the first step, beside the writer. It returns how many frames came while it ran.
func (c *checkpointer) beside() (left int, err error) {
	if c.conn == nil {
		options := sqlite.CheckpointOptions()
		options.Fault = c.engine.config.Fault
		options.Pace = &sqlite.Pace{Bytes: paceBytes, Pause: c.pause}
		conn, err := sqlite.Open(c.engine.file(), options)
		if err != nil {
			return 0, err
		}
		c.conn = conn
	}
	if _, _, err := c.step(c.conn.WALCheckpointPassive); err != nil {
		return 0, err
	}
	frames, done, err := c.step(func() (int, int, error) { return c.conn.WALCheckpoint(checkpointNoop) })
	return frames - done, err
}

// step runs a checkpoint again while SQLite finds the header of the log's index in the midst of being changed: that is the
// writer's work of a moment, and no connection waits for it of itself in a passive checkpoint.
func (c *checkpointer) step(checkpoint func() (int, int, error)) (frames, done int, err error) {
	for begun := time.Now(); ; {
		frames, done, err = checkpoint()
		var failed *sqlite.Error
		if !errors.As(err, &failed) || failed.Code != sqlite.CodeBusy || time.Since(begun) > sqlite.BusyMillis*time.Millisecond {
			return frames, done, err
		}
		c.pause(time.Millisecond)
	}
}

// pause leaves the disk to others for as long as it was used. Closing waits for no pause.
func (c *checkpointer) pause(took time.Duration) {
	timer := time.NewTimer(min(took, longestPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.stop:
	}
}

// report logs when checkpoints begin to fail and when they work again. A failed one loses nothing: the rows are in the
// log, which grows.
func (c *checkpointer) report(err error) {
	if failing := err != nil; c.failing.Swap(failing) != failing {
		if failing {
			c.engine.log.Warn("the write-ahead log of SQLite cannot be moved into the database and grows", "err", err)
		} else {
			c.engine.log.Info("the write-ahead log of SQLite is moved into the database again")
		}
	}
}

func (c *checkpointer) close() error {
	close(c.stop)
	c.done.Wait()
	return c.disconnect()
}
