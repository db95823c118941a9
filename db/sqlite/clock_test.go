package sqlite

import (
	"testing"
	"time"
)

// Every way to ask for the time gives the clock's: functions, DEFAULT, trigger, view.
func TestClockEverywhere(t *testing.T) {
	clock := NewClock()
	c := mustOpen(t, ":memory:", Options{Create: true, Clock: clock})
	clock.SetUnixNano(time.Date(2001, 2, 3, 4, 5, 6, 789e6, time.UTC).UnixNano())
	mustExec(t, c, `CREATE TABLE t(a, at TEXT DEFAULT CURRENT_TIMESTAMP, day DEFAULT (date('now')), f DEFAULT (strftime('%f')));
		CREATE TABLE log(v);
		CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (strftime('%Y-%m-%dT%H:%M:%f', 'now')); END;
		CREATE VIEW now AS SELECT datetime() AS v;
		INSERT INTO t(a) VALUES (1)`)
	for sql, want := range map[string]string{
		"SELECT CURRENT_TIMESTAMP":                   "2001-02-03 04:05:06",
		"SELECT CURRENT_DATE":                        "2001-02-03",
		"SELECT CURRENT_TIME":                        "04:05:06",
		"SELECT date()":                              "2001-02-03",
		"SELECT time('now')":                         "04:05:06",
		"SELECT datetime('now', 'subsec')":           "2001-02-03 04:05:06.789",
		"SELECT unixepoch('now', 'subsec')":          "981173106.789",
		"SELECT printf('%.8f', julianday('now'))":    "2451943.67021747",
		"SELECT timediff('now', '2001-02-03')":       "+0000-00-00 04:05:06.789",
		"SELECT datetime('now', 'localtime')":        "2001-02-03 04:05:06",
		"SELECT at || '|' || day || '|' || f FROM t": "2001-02-03 04:05:06|2001-02-03|06.789",
		"SELECT v FROM log":                          "2001-02-03T04:05:06.789",
		"SELECT v FROM now":                          "2001-02-03 04:05:06",
	} {
		if got := ask(t, c, sql); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
}

// Each connection has its own clock, two may share one, and one without has the wall clock.
func TestClocksAreApart(t *testing.T) {
	a, b := NewClock(), NewClock()
	first := mustOpen(t, ":memory:", Options{Create: true, Clock: a})
	second := mustOpen(t, ":memory:", Options{Create: true, Clock: b})
	third := mustOpen(t, ":memory:", Options{Create: true, Clock: a})
	wall := memory(t)
	a.SetUnixNano(-1) // the last nanosecond of 1969: cut towards the past
	b.SetUnixNano(2e9)
	const query = "SELECT strftime('%Y %f', 'now')"
	for i, test := range []struct {
		c    *Conn
		want string
	}{{first, "1969 59.999"}, {second, "1970 02.000"}, {third, "1969 59.999"}} {
		if got := ask(t, test.c, query); got != test.want {
			t.Errorf("connection %d: got %s, want %s", i, got, test.want)
		}
	}
	before := time.Now().UTC().Format(time.DateTime)
	now := ask(t, wall, "SELECT datetime('now')")
	if after := time.Now().UTC().Format(time.DateTime); now < before || now > after {
		t.Errorf("without a clock: got %s, want the wall clock between %s and %s", now, before, after)
	}
}

// The older method of the VFS agrees with the newer one.
func TestCurrentDays(t *testing.T) {
	clock := NewClock()
	clock.SetUnixNano(time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	c := mustOpen(t, ":memory:", Options{Create: true, Clock: clock})
	c.vfs.currentDays(c.tls, 0, c.mem+slotA)
	if got := *at[float64](c.mem + slotA); got != 2451545 {
		t.Errorf("got Julian day %v, want 2451545", got)
	}
}
