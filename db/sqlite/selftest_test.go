package sqlite

import "testing"

// The linked SQLite has every property that replicas rest on.
func TestSelfTest(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Fatal(err)
	}
}
