package sqlite

import (
	"crypto/sha256"
	"testing"
)

// The fingerprint is the same each time it is computed, and depends on every value of every query.
func TestFingerprint(t *testing.T) {
	again, err := computeFingerprint()
	if err != nil {
		t.Fatal(err)
	}
	if again != Fingerprint() {
		t.Error("computed twice, the fingerprint differs")
	}
}

// Values that differ in class, sign or last bit hash differently, and so do values that are cut in another place.
func TestFingerprintTellsValuesApart(t *testing.T) {
	c := memory(t)
	seen := map[[32]byte]string{}
	for _, sql := range []string{
		"SELECT 1", "SELECT 1.0", "SELECT '1'", "SELECT x'31'", "SELECT NULL", "SELECT 0.1 + 0.2", "SELECT 0.3",
		"SELECT 'ab', 'c'", "SELECT 'a', 'bc'", "SELECT 'abc'", "SELECT 1 WHERE 0", "VALUES (1), (1)",
	} {
		h := sha256.New()
		if err := c.hashRows(h, sql); err != nil {
			t.Fatal(err)
		}
		sum := [32]byte(h.Sum(nil))
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s have one hash", sql, other)
		}
		seen[sum] = sql
	}
}

// Every query of the list gives rows: an empty one would compare nothing.
func TestFingerprintQueriesHaveRows(t *testing.T) {
	c := memory(t)
	mustExec(t, c, fingerprintSchema)
	for _, q := range fingerprintQueries {
		s, err := c.Internal(q)
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		if row, err := s.Step(); err != nil || !row {
			t.Errorf("%s: row %t, error %v", q, row, err)
		}
		s.Release()
	}
}
