package engine

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// fill applies entries that write so many megabytes.
func fill(l *log, e *Engine, megabytes int) {
	l.t.Helper()
	for range megabytes {
		for range 4 {
			l.script("insert into t values(randomblob(250000))")
		}
		l.apply(e)
	}
}

// The write-ahead log is moved into the database once it passes its threshold, and begun anew: it does not grow with
// what is written.
func TestCheckpointsBoundTheLog(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a)")
	largest := int64(0)
	for range 8 {
		fill(l, e, 10)
		for e.checkpointer.running.Load() { // the disk of a test may be slower than its writer
			l.must(e, "update t set a = 1 where 0")
		}
		l.must(e, "delete from t")
		file, err := os.Stat(e.file() + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, file.Size())
	}
	if limit := int64(5 * checkpointBytes); largest > limit {
		t.Errorf("the log grew to %d bytes while 80 MB were written, want at most %d", largest, limit)
	}
	if got := rowsOf(t, e, "pragma integrity_check"); got != "ok" {
		t.Errorf("integrity check: %s", got)
	}
}

// A read that holds the log back does not make the checkpointer try again and again; when it has ended, the log is moved.
func TestCheckpointWaitsForTheOldestRead(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a); create table r(a); insert into r values(zeroblob(40000)), (1)")
	reading, release := make(chan struct{}), make(chan struct{})
	var read sync.WaitGroup
	read.Go(func() {
		var once sync.Once
		s := &rows{onRow: func() error { once.Do(func() { close(reading) }); <-release; return nil }}
		if _, err := e.Query(t.Context(), "select a from r", nil, s); err != nil || len(s.rows) != 2 {
			t.Errorf("the read: %v, %d rows", err, len(s.rows))
		}
	})
	<-reading
	fill(l, e, 18)
	settle(l, e)
	if frames, done := noop(t, e); done > 100 {
		t.Fatalf("%d of %d frames are in the database although a read needs the old pages", done, frames)
	}
	next := e.checkpointer.next
	for range 20 {
		l.must(e, "update t set a = 1 where 0")
	}
	if settle(l, e); e.checkpointer.next != next {
		t.Errorf("another attempt was made while the read went on and the log hardly grew")
	}
	close(release)
	read.Wait()
	l.must(e, "update t set a = 1 where 0")
	settle(l, e)
	l.must(e, "update t set a = 1 where 0") // begins the log anew
	if frames, done := noop(t, e); frames > 100 {
		t.Errorf("after the read %d of %d frames are in the database and the log was not begun anew", done, frames)
	}
}

// settle waits for an attempt that runs, and applies what makes the writer do its part.
func settle(l *log, e *Engine) {
	for e.checkpointer.running.Load() || e.checkpointer.tail.Load() {
		l.must(e, "update t set a = 1 where 0")
	}
}

func noop(t *testing.T, e *Engine) (frames, done int) {
	t.Helper()
	frames, done, err := e.writer.conn.WALCheckpoint(checkpointNoop)
	if err != nil {
		t.Fatal(err)
	}
	return frames, done
}

// Closing moves the whole log into the database: what is left is one plain file.
func TestCloseLeavesOneFile(t *testing.T) {
	e := openEngine(t, Config{})
	newLog(t).must(e, "create table t(a); insert into t values(1)")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(e.Path())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		names = append(names, file.Name())
	}
	if got := strings.Join(names, " "); got != fileName {
		t.Errorf("the directory holds %s", got)
	}
}

// Where one read follows the other without a pause, each longer than the log takes to grow, the log is begun anew all the same.
func TestLogIsBegunAnewBetweenReads(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a); insert into t values(0)")
	stop, ended := make(chan struct{}), make(chan error, 1)
	next := make(chan struct{}, 1)
	go func() {
		for {
			_, err := e.Query(t.Context(), "select a from t limit 1", nil, &rows{onRow: func() error {
				select {
				case <-next: // the read lasts until then
				case <-stop:
				}
				return nil
			}})
			select {
			case <-stop:
				ended <- err
				return
			default:
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	longest := 0
	for range 16 {
		fill(l, e, 18)
		frames, _ := noop(t, e)
		longest = max(longest, frames)
		next <- struct{}{}
		// While the next read begins, and for as long as a busy disk takes to move the log.
		for i := 0; i < 200 || e.checkpointer.running.Load(); i++ {
			l.must(e, "update t set a = 1 where 0")
		}
	}
	close(stop)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if mebibytes := longest * frameBytes >> 20; mebibytes > 160 { // of 288 that are written
		t.Errorf("the log had up to %d MiB", mebibytes)
	}
}
