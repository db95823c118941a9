package sqlite

import (
	"bytes"
	"math"
	"testing"
)

const randomScript = `
	CREATE TABLE r(a DEFAULT (random()), b DEFAULT (randomblob(5)));
	INSERT INTO r DEFAULT VALUES; INSERT INTO r DEFAULT VALUES;
	CREATE TRIGGER tr AFTER UPDATE ON r BEGIN INSERT INTO r(a) VALUES (random()); END;
	UPDATE r SET a = random() WHERE rowid IN (SELECT rowid FROM r ORDER BY random() LIMIT 1)`

const randomContent = "SELECT group_concat(a || hex(b)) || (SELECT group_concat(rowid) FROM (SELECT rowid FROM r ORDER BY random())) FROM r"

// The same seed gives the same values in DEFAULTs, triggers, ORDER BY and UPDATE on two connections; another seed and
// no seed give others. An untrusted schema does not refuse them.
func TestRandomIsSeeded(t *testing.T) {
	content := func(seed *uint64) string {
		c := memory(t)
		mustExec(t, c, "PRAGMA trusted_schema=0")
		if seed != nil {
			c.SeedRandom(*seed)
		}
		mustExec(t, c, randomScript)
		return ask(t, c, randomContent)
	}
	one, two := uint64(1), uint64(2)
	first := content(&one)
	if second := content(&one); first != second {
		t.Errorf("the same seed gives\n%s\n%s", first, second)
	}
	for name, other := range map[string]string{"another seed": content(&two), "no seed": content(nil)} {
		if other == first {
			t.Errorf("%s gives the same values", name)
		}
	}
}

// random() never gives the smallest integer, whose abs() would fail.
func TestRandomIsNotMinInt64(t *testing.T) {
	for u, want := range map[uint64]int64{1 << 63: 0, 1<<63 + 1: math.MinInt64 + 1, 7: 7, math.MaxUint64: -1} {
		if got := randomInt64(u); got != want {
			t.Errorf("%d: got %d, want %d", u, got, want)
		}
	}
}

// randomblob gives at least one byte, and as many as asked.
func TestRandomblobLength(t *testing.T) {
	c := memory(t)
	for sql, want := range map[string]string{
		"SELECT length(randomblob(0))":                                    "1",
		"SELECT length(randomblob(-9223372036854775807 - 1))":             "1",
		"SELECT length(randomblob(8))":                                    "8",
		"SELECT length(randomblob(1000001))":                              "1000001",
		"SELECT length(randomblob(NULL)) || typeof(randomblob('3'))":      "1blob",
		"SELECT count(DISTINCT randomblob(16)) FROM (VALUES (1),(2),(3))": "3",
	} {
		if got := ask(t, c, sql); got != want {
			t.Errorf("%s: got %s, want %s", sql, got, want)
		}
	}
	wantCode(t, "randomblob of everything", run(c, "SELECT randomblob(9223372036854775807)"), CodeTooBig)
}

// The generator is splitmix64: the first numbers from seed 1234567 are those of the reference implementation.
func TestSplitmix64(t *testing.T) {
	state := uint64(1234567)
	for i, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821} {
		if got := splitmix64(&state); got != want {
			t.Errorf("number %d: got %d, want %d", i, got, want)
		}
	}
}

// A blob is a prefix of a longer one from the same seed.
func TestFillRandomIsAStream(t *testing.T) {
	var long [40]byte
	state := uint64(9)
	fillRandom(&state, long[:])
	for n := range long {
		short := make([]byte, n)
		state := uint64(9)
		fillRandom(&state, short)
		if !bytes.HasPrefix(long[:], short) {
			t.Errorf("%d bytes are no prefix of 40", n)
		}
	}
}

// An index over random() is still refused as not deterministic.
func TestRandomIsNotDeterministic(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a)")
	wantCode(t, "index", run(c, "CREATE INDEX i ON t(random())"), CodeError)
	wantCode(t, "generated column", run(c, "CREATE TABLE g(a, b AS (randomblob(1)))"), CodeError)
}
