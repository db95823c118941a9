package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SelfTest proves, on private databases in memory, every property of the linked SQLite that equal replicas rest on
// and that no documented interface of SQLite promises: the clock, the generator, local time, the reset of the
// connection's counters, step counts and the schema stamp. A program that finds one false must not apply anything.
// It takes a few milliseconds.
func SelfTest() error {
	var errs []error
	for _, t := range []struct {
		name string
		run  func() error
	}{
		{"source", testSource},
		{"clock", onConn(testClock)},
		{"random", onConn(testRandom)},
		{"local time", onConn(testLocaltime)},
		{"state reset", onConn(testReset)},
		{"step count", onConn(testSteps)},
		{"schema stamp", onConn(testStamp)},
		{"deferred foreign keys", onConn(testDeferred)},
		{"fingerprint", func() error { _, err := fingerprint(); return err }},
	} {
		if err := t.run(); err != nil {
			errs = append(errs, fmt.Errorf("sqlite self-test: %s: %w", t.name, err))
		}
	}
	return errors.Join(errs...)
}

// onConn runs a test on a connection of its own.
func onConn(test func(*Conn, *Clock) error) func() error {
	return func() (err error) {
		clock := NewClock()
		c, err := Open(":memory:", Options{Create: true, Clock: clock})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		return test(c, clock)
	}
}

// expect compares what an internal query answers with what it must.
func (c *Conn) expect(sql, want string) error {
	got, err := c.text(sql)
	if err != nil {
		return fmt.Errorf("%s: %w", sql, err)
	}
	if got != want {
		return fmt.Errorf("%s: got %q, want %q", sql, got, want)
	}
	return nil
}

// testSource: what runs is what was compiled in, with its mutexes.
func testSource() error {
	tls := libc.NewTLS()
	defer tls.Close()
	if got := goString(lib.Xsqlite3_sourceid(tls)); got != SourceID() {
		return fmt.Errorf("the linked source is %q, the constants are of %q", got, SourceID())
	}
	if lib.Xsqlite3_threadsafe(tls) == 0 {
		return errors.New("sqlite was built without mutexes")
	}
	return nil
}

// testClock: every way to ask for the time reads the connection's clock.
func testClock(c *Conn, clock *Clock) error {
	clock.SetUnixNano(981173106_789_999_999) // 2001-02-03 04:05:06.789, cut to milliseconds
	return errors.Join(
		c.expect("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", "2001-02-03T04:05:06.789Z"),
		c.expect("SELECT CURRENT_TIMESTAMP", "2001-02-03 04:05:06"),
		c.expect("SELECT CURRENT_DATE || CURRENT_TIME", "2001-02-0304:05:06"),
		c.expect("SELECT unixepoch()", "981173106"),
		c.expect("SELECT round(julianday(), 6)", "2451943.670217"),
	)
}

// testRandom: random() and randomblob() are the generator's numbers, from the seed on.
func testRandom(c *Conn, _ *Clock) error {
	const seed = 42
	state := uint64(seed)
	first, second := randomInt64(splitmix64(&state)), randomInt64(splitmix64(&state))
	blob := make([]byte, 11)
	fillRandom(&state, blob)
	want := fmt.Sprintf("%d %d %X", first, second, blob)
	for range 2 {
		c.SeedRandom(seed)
		if err := c.expect("SELECT random() || ' ' || random() || ' ' || hex(randomblob(11))", want); err != nil {
			return err
		}
	}
	return nil
}

// testLocaltime: local time is UTC, and it is this package that says so.
func testLocaltime(c *Conn, _ *Clock) error {
	before := localtimeCalls.Load()
	err := errors.Join(
		c.expect("SELECT datetime('2024-07-01 12:00', 'localtime')", "2024-07-01 12:00:00"),
		c.expect("SELECT datetime('2024-12-31 23:59:59', 'utc')", "2024-12-31 23:59:59"),
	)
	if err == nil && localtimeCalls.Load() < before+2 {
		err = errors.New("sqlite asks the operating system for the local time")
	}
	return err
}

// testReset: ResetState clears the three counters, and they were not 0 before.
func testReset(c *Conn, _ *Clock) error {
	const counters = "SELECT last_insert_rowid() || ' ' || changes() || ' ' || total_changes()"
	if err := c.Exec("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3); INSERT INTO t VALUES (4)"); err != nil {
		return err
	}
	if err := c.expect(counters, "4 1 4"); err != nil {
		return err
	}
	c.ResetState()
	return c.expect(counters, "0 0 0")
}

// testSteps: a progress callback knows the top level, and the same run makes the same number of calls.
func testSteps(c *Conn, _ *Clock) error {
	const query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT sum(i) FROM n"
	var calls, top [2]int
	for run := range calls {
		c.SetProgress(100, func() bool {
			calls[run]++
			if c.TopLevel() {
				top[run]++
			}
			return false
		})
		if err := c.runOnce(query); err != nil {
			return err
		}
	}
	c.SetProgress(0, nil)
	if calls[0] == 0 || calls != top || calls[0] != calls[1] {
		return fmt.Errorf("two runs made %d progress calls, %d of them at the top level", calls, top)
	}
	return nil
}

// runOnce runs a statement as a caller would, by the cache and to its end.
func (c *Conn) runOnce(sql string) error {
	s, _, err := c.Cached(sql)
	if err != nil {
		return err
	}
	defer s.Release()
	for {
		if row, err := s.Step(); err != nil || !row {
			return err
		}
	}
}

// testStamp: a change of the schema changes the stamp, anything else does not.
func testStamp(c *Conn, _ *Clock) error {
	if err := c.Exec("CREATE TABLE t(a)"); err != nil {
		return err
	}
	before := c.schemaStamp()
	if err := c.Exec("INSERT INTO t VALUES (1)"); err != nil {
		return err
	}
	if c.schemaStamp() != before {
		return errors.New("an insert changes it")
	}
	if err := c.Exec("CREATE INDEX i ON t(a)"); err != nil {
		return err
	}
	if c.schemaStamp() == before {
		return errors.New("a new index does not change it")
	}
	return nil
}

// testDeferred: a violation that waits for the end of the transaction shows.
func testDeferred(c *Conn, _ *Clock) error {
	if err := c.Exec(`PRAGMA foreign_keys=1;
		CREATE TABLE p(i INTEGER PRIMARY KEY);
		CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED);
		BEGIN`); err != nil {
		return err
	}
	for _, step := range []struct {
		sql  string
		want bool
	}{
		{"SELECT 1", false},
		{"INSERT INTO c VALUES (7)", true},
		{"INSERT INTO p VALUES (7)", false},
	} {
		if err := c.Exec(step.sql); err != nil {
			return err
		}
		n, err := c.DeferredFKs()
		if err != nil {
			return err
		}
		if (n != 0) != step.want {
			return fmt.Errorf("after %q: status %d", step.sql, n)
		}
	}
	return c.Exec("COMMIT")
}
