package engine

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Extended result codes of the operating system's refusals (sqlite.org/rescode.html).
const (
	codeIORead  = 266
	codeIOWrite = 778
	codeIOSync  = 1034
)

// outage makes file operations of an engine fail: the at-th of its kind since it was armed, and all after it while lasting.
// Operations are counted from any goroutine.
type outage struct {
	op      sqlite.FaultOp
	file    string // a suffix; empty is every file
	code    int
	lasting bool

	armed atomic.Bool
	at    int64
	seen  atomic.Int64
	// struck counts the operations that failed.
	struck atomic.Int64
}

// arm lets the at-th operation from here on fail; 1 is the next one.
func (o *outage) arm(at int64) {
	o.at = at
	o.seen.Store(0)
	o.struck.Store(0)
	o.armed.Store(true)
}

// disarm ends the outage and reports whether anything failed.
func (o *outage) disarm() bool {
	o.armed.Store(false)
	return o.struck.Load() > 0
}

func (o *outage) fault(op sqlite.FaultOp, file string, _ int64, _ int) int {
	if !o.armed.Load() || op != o.op || !strings.HasSuffix(file, o.file) {
		return 0
	}
	if n := o.seen.Add(1); n < o.at || n > o.at && !o.lasting {
		return 0
	}
	o.struck.Add(1)
	return o.code
}

// outages are what may become of a disk, for the operations that an Apply does: the writes of a commit and those of a
// statement whose pages do not fit the cache, and reads of pages that are in it no more.
func outages() map[string]*outage {
	return map[string]*outage{
		"a full disk":            {op: sqlite.FaultWrite, code: codeFull, lasting: true},
		"one write without room": {op: sqlite.FaultWrite, code: codeFull},
		"writes that fail":       {op: sqlite.FaultWrite, code: codeIOWrite, lasting: true},
		"one write that fails":   {op: sqlite.FaultWrite, code: codeIOWrite},
		"reads that fail":        {op: sqlite.FaultRead, code: codeIORead, lasting: true},
		"one read that fails":    {op: sqlite.FaultRead, code: codeIORead},
	}
}

// apply gives e the next entries of the log again and again, each time with an outage one operation later, until they are
// applied without one. It returns the results and how often the disk failed.
func (o *outage) apply(t *testing.T, l *log, e *Engine, batch int, cachePages int) (results []*Result, failures int) {
	t.Helper()
	for at := int64(1); ; at++ {
		base := mustBase(t, e) // opens the database again, without an outage
		if err := e.writer.conn.Exec(fmt.Sprintf("PRAGMA cache_size=%d; PRAGMA shrink_memory", cachePages)); err != nil {
			t.Fatal(err)
		}
		first := int(base.Applied.Index)
		entries := l.entries[first:min(first+batch, len(l.entries))]
		chain := e.Chain()
		o.arm(at)
		got, err := e.Apply(entries)
		struck := o.disarm()
		for _, one := range got {
			result, _ := one.(*Result)
			results = append(results, result)
		}
		if applied := int(mustBase(t, e).Applied.Index); applied != first+len(got) {
			t.Fatalf("operation %d: %d results, and the index went from %d to %d", at, len(got), first, applied)
		}
		if err == nil && !struck {
			return results, failures
		}
		failures++
		if err == nil {
			t.Fatalf("operation %d from entry %d on: the disk failed, and Apply does not say so", at, first+1)
		}
		if len(got) == 0 && e.Chain() != chain {
			t.Fatalf("operation %d: nothing was applied and the chain went from %v to %v", at, chain, e.Chain())
		}
	}
}

// TestOutageAtEveryOperation proves: whichever read or write of the database fails while entries are applied, once or from
// then on, nothing is recorded of the entries that failed, and when the disk works again the same entries have the results,
// the chain and the rows of a replica whose disk never failed.
func TestOutageAtEveryOperation(t *testing.T) {
	l := hostileLog(t, 100)
	want := replicas[0].run(t, l)
	if want.err != nil {
		t.Fatal(want.err)
	}
	for name, o := range outages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := openEngine(t, Config{Fault: o.fault})
			var got outcome
			failures := 0
			for batch := 1; int(e.Applied()) < len(l.entries); batch = batch%17 + 1 {
				results, failed := o.apply(t, l, e, batch, 10)
				got.results, failures = append(got.results, results...), failures+failed
			}
			got.chain = e.Chain()
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			got.content = contentHash(t, e.file())
			if differs := l.difference(got, want); differs != "" {
				t.Fatal(differs)
			}
			t.Logf("%d failures", failures)
			if failures < len(l.entries)/2 {
				t.Errorf("%d failures prove little", failures)
			}
		})
	}
}

// churn applies entries that write so many megabytes and leave few rows.
func churn(l *log, e *Engine, megabytes int) error {
	for range megabytes {
		l.script("insert into t(a) select randomblob(100000) from (values(1), (2), (3), (4), (5), (6), (7), (8), (9), (10))")
		l.script("delete from t where id % 9 or id < (select max(id) from t) - 90")
		if _, err := e.Apply(l.entries[e.Applied():]); err != nil {
			return err
		}
	}
	return nil
}

// TestCheckpointOutage proves: a write-ahead log that cannot be moved into the database stops no entry and loses none. It
// grows, and is moved when the disk works again; the rows are then those of a replica whose disk never failed.
func TestCheckpointOutage(t *testing.T) {
	const database = ".sqlite"
	for name, o := range map[string]*outage{
		"no room in the database":   {op: sqlite.FaultWrite, file: database, code: codeFull, lasting: true},
		"database not written":      {op: sqlite.FaultWrite, file: database, code: codeIOWrite, lasting: true},
		"database not synced":       {op: sqlite.FaultSync, file: database, code: codeIOSync, lasting: true},
		"log not synced":            {op: sqlite.FaultSync, file: "-wal", code: codeIOSync, lasting: true},
		"log not read":              {op: sqlite.FaultRead, file: "-wal", code: codeIORead, lasting: true},
		"one write to the database": {op: sqlite.FaultWrite, file: database, code: codeIOWrite},
		"one sync of the database":  {op: sqlite.FaultSync, file: database, code: codeIOSync},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, l := openEngine(t, Config{Fault: o.fault}), newLog(t)
			l.must(e, "create table t(id integer primary key, a)")
			o.arm(1)
			if err := churn(l, e, 18); err != nil {
				t.Fatal(err)
			}
			settle(l, e)
			if !o.disarm() {
				t.Fatal("no checkpoint was made: the test does not reach what it is for")
			}
			if err := churn(l, e, 20); err != nil {
				t.Fatal(err)
			}
			settle(l, e)
			l.must(e, "update t set a = 1 where 0") // begins the log anew
			if frames, _ := noop(t, e); frames*frameBytes > checkpointBytes {
				t.Errorf("the log has %d frames, though the disk works", frames)
			}
			other := openEngine(t, Config{})
			for int(other.Applied()) < len(l.entries) {
				if _, err := other.Apply(l.entries[other.Applied():]); err != nil {
					t.Fatal(err)
				}
			}
			if e.Chain() != other.Chain() {
				t.Errorf("the chain is %v, want %v", e.Chain(), other.Chain())
			}
			if err := errors.Join(e.Close(), other.Close()); err != nil {
				t.Fatal(err)
			}
			if got, want := contentHash(t, e.file()), contentHash(t, other.file()); got != want {
				t.Error("the rows differ from those of a replica whose disk never failed")
			}
		})
	}
}

// TestOpenWritesNothing proves: a database can be opened, and read, on a disk that takes no write at all; only entries need
// it.
func TestOpenWritesNothing(t *testing.T) {
	e, l := openEngine(t, Config{}), newLog(t)
	l.must(e, "create table t(id integer primary key, a)")
	if err := churn(l, e, 6); err != nil { // more than SQLite moves into the database by itself
		t.Fatal(err)
	}
	o := &outage{op: sqlite.FaultWrite, code: codeFull, lasting: true}
	o.arm(1)
	config := copyFiles(t, e)
	config.Fault = o.fault
	copied := openEngine(t, config)
	if got, want := rowsOf(t, copied, "select count(*), max(id) from t"), rowsOf(t, e, "select count(*), max(id) from t"); got != want {
		t.Errorf("it reads %s, want %s", got, want)
	}
	if struck := o.disarm(); struck {
		t.Errorf("%d writes were tried", o.struck.Load())
	}
	o.arm(1)
	l.script("insert into t(a) values('next')")
	if _, err := copied.Apply(l.entries[copied.Applied():]); !Full(err) {
		t.Errorf("an entry on the full disk: %v", err)
	}
	o.disarm()
	l.apply(copied)
}
