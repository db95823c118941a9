package engine

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
)

// verify adds a Verify.
func (l *log) verify(id string) {
	l.t.Helper()
	l.command(&commandpb.Command{Body: &commandpb.Command_Verify{Verify: &commandpb.Verify{Id: []byte(id)}}})
}

func verified(t testing.TB, e *Engine, id string) Verification {
	t.Helper()
	v, err := e.Verification(t.Context(), [8]byte([]byte(id)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Replicas that have applied the same entries hash the same content at the same entry, whatever their batches, their caches
// and the entries that follow; one other value anywhere gives another hash.
func TestVerification(t *testing.T) {
	l := hostileLog(t, 200)
	at := len(l.entries)
	l.verify("verify 1")
	for i := range 50 {
		l.script(fmt.Sprintf("create table if not exists later(a); insert into later values(%d), (random())", i))
	}
	l.verify("verify 2")
	var first Verification
	for i, batch := range []int{1, 7, 500} {
		e := openEngine(t, Config{})
		for int(e.Applied()) < len(l.entries) {
			applied := int(e.Applied())
			if _, err := e.Apply(l.entries[applied:min(applied+batch, len(l.entries))]); err != nil {
				t.Fatal(err)
			}
		}
		one, two := verified(t, e, "verify 1"), verified(t, e, "verify 2")
		if one.Hash == two.Hash || int(one.Index) != at+1 || int(two.Index) != len(l.entries) || one.Rows == 0 {
			t.Errorf("batches of %d: %+v, %+v", batch, one, two)
		}
		if i == 0 {
			first = one
		} else if one.Hash != first.Hash || one.Rows != first.Rows {
			t.Errorf("batches of %d: %d rows, %x, one by one %d, %x", batch, one.Rows, one.Hash, first.Rows, first.Hash)
		}
	}
}

// What was changed behind the engine's back, in any table and in the schema, is found.
func TestVerificationFindsWhatDiffers(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	l.must(e, `create table t(id integer primary key, a, b); create index t_a on t(a, b, id); insert into t(a, b) values(1, 'x'), (2, 'y'), (null, x'00');
		create table w(k primary key, v) without rowid; insert into w values('a', 1), ('b', 2); create virtual table f using fts5(text); insert into f values('some words');
		create table "odd ""name"(rowid, oid); insert into "odd ""name" values(1, 2), (1, 1)`)
	config := copyFiles(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	hashes := make(map[Verification]string)
	l.verify("verify 1")
	for _, change := range []string{
		"", "update t set b = 'z' where id = 2", "update t set a = 1.0 where id = 1", "update w set v = 3 where k = 'b'", "delete from t where id = 3",
		"update f set text = 'same words'", "create index other on t(b)", "update t set id = 9 where id = 3", `update "odd ""name" set oid = 3 where oid = 1`,
	} {
		copied := openEngine(t, config) // only to have a copy of its files
		other := copyFiles(t, copied)
		if err := copied.Close(); err != nil {
			t.Fatal(err)
		}
		found, _, err := findGeneration(other.Dir)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := sqlite.Open(found.file(), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(conn.Exec(change), conn.Close()); err != nil {
			t.Fatal(err)
		}
		r := openEngine(t, other)
		l.apply(r)
		v := verified(t, r, "verify 1")
		v.Took, v.Rows = 0, 0
		if same, known := hashes[v]; known {
			t.Errorf("%q and %q have the same hash", change, same)
		}
		hashes[v] = change
	}
	if len(hashes) < 9 {
		t.Errorf("%d hashes", len(hashes))
	}
}

// The outcomes of the newest verifications are kept; one that is not there is said to be unknown, and a wait for one ends
// with its context.
func TestVerificationsAreBounded(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	for i := range maxVerifications + 3 {
		l.verify(fmt.Sprintf("verify%2d", i))
	}
	l.apply(e)
	for i := range maxVerifications + 3 {
		_, err := e.Verification(t.Context(), [8]byte(fmt.Appendf(nil, "verify%2d", i)))
		if i < 3 && !errors.Is(err, ErrVerificationUnknown) || i >= 3 && err != nil {
			t.Errorf("verification %d: %v", i, err)
		}
	}
	e.verifications.add(verification{1}, &verifying{done: make(chan struct{})})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Verification(ctx, [8]byte{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ends with %v", err)
	}
}
