package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
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
		create table "odd ""name"(rowid, oid); insert into "odd ""name" values(1, 2), (1, 1);
		create table shadowed(_ROWID_, v); insert into shadowed values(0, 'a'), (0, 'b');
		create table hidden(oid, "RowId", _rowid_); insert into hidden values(1, 1, 1), (2, 2, 2), (1, 1, 1)`)
	config := copyFiles(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	hashes := make(map[Verification]string)
	l.verify("verify 1")
	for _, change := range []string{
		"", "update t set b = 'z' where id = 2", "update t set a = 1.0 where id = 1", "update w set v = 3 where k = 'b'", "delete from t where id = 3",
		"update f set text = 'same words'", "create index other on t(b)", "update t set id = 9 where id = 3", `update "odd ""name" set oid = 3 where oid = 1`,
		"update shadowed set rowid = 9 where v = 'b'", "update hidden set oid = 3 where oid = 2",
		"create table moved as select * from hidden order by 1; delete from hidden; insert into hidden select * from moved; drop table moved",
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
	if len(hashes) < 12 {
		t.Errorf("%d hashes", len(hashes))
	}
}

// A column that is computed when it is read is no content: one that cannot be computed for a row that has been there before
// it stops no verification.
func TestVerificationReadsNoComputedColumn(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	l.must(e, `create table g(a, kept as (a || '!') stored); insert into g(a) values('no json'); create table x(a); create view v as select a from x; drop table x`)
	l.must(e, `alter table g add column b as (json_extract(a, '$.x'))`)
	l.verify("verify 1")
	l.apply(e)
	if v := verified(t, e, "verify 1"); v.Rows == 0 {
		t.Error("nothing was hashed")
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
		last := i >= maxVerifications+3-maxHashing
		if i < 3 && !errors.Is(err, ErrVerificationUnknown) || i >= 3 && err != nil && (last || !errors.Is(err, ErrVerificationReplaced)) {
			t.Errorf("verification %d: %v", i, err)
		}
	}
	e.verifications.add(verification{1}, &verifying{done: make(chan struct{}), cancel: func(error) {}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Verification(ctx, [8]byte{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("the wait ends with %v", err)
	}
}

// No more than maxHashing run at once: one more ends the oldest, which says so, and gives its snapshot of the database back.
func TestNewerVerificationsEndOlderOnes(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	for range cap(e.readers.turns) { // nothing is hashed
		if err := e.readers.step(t.Context(), func() {}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxHashing + 1 {
		l.verify(fmt.Sprintf("verify%2d", i))
	}
	l.apply(e)
	if _, err := e.Verification(t.Context(), [8]byte([]byte("verify 0"))); !errors.Is(err, ErrVerificationReplaced) {
		t.Errorf("the oldest ended with %v", err)
	}
	for range cap(e.readers.turns) {
		e.readers.stepped()
	}
	for i := range maxHashing {
		verified(t, e, fmt.Sprintf("verify%2d", i+1))
	}
}

// Close waits for what is hashed, also for what a running Apply begins beside it: nothing reads files that are closed.
func TestCloseEndsVerifications(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	for i := range 200 {
		l.verify(fmt.Sprintf("ver%5d", i))
	}
	some, stopped := make(chan struct{}), make(chan error)
	go func() {
		for i, entry := range l.entries {
			if i == 20 {
				close(some)
			}
			if _, err := e.Apply([]raft.Entry{entry}); err != nil {
				stopped <- err
				return
			}
		}
		stopped <- nil
	}()
	<-some
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for id, v := range e.verifications.known {
		if !v.ended() {
			t.Errorf("%s is not ended", id)
		}
	}
	if err := <-stopped; err != nil && !errors.Is(err, ErrClosed) { // nil: it was faster
		t.Errorf("applying ended with %v", err)
	}
}

// Where nobody has seen the outcome yet it is told how many rows are hashed, and a wait ends with its context.
func TestVerificationOnItsWay(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	l.must(e, "create table t(a); insert into t with recursive n(i) as (select 1 union all select i + 1 from n limit 1000) select i from n")
	step := func() {
		if err := e.readers.step(t.Context(), func() {}); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(e.readers.turns) {
		step()
	}
	l.verify("verify 1")
	l.apply(e)
	past, cancel := context.WithCancel(t.Context())
	cancel()
	v, err := e.Verification(past, [8]byte([]byte("verify 1")))
	if !errors.Is(err, context.Canceled) || v.Rows != 0 || v.Index != e.Applied() || v.Hash != [32]byte{} {
		t.Errorf("before a row is hashed: %+v, %v", v, err)
	}
	for range cap(e.readers.turns) {
		e.readers.stepped()
	}
	if v := verified(t, e, "verify 1"); v.Rows < 1000 || v.Index != e.Applied() {
		t.Errorf("in the end: %+v", v)
	}
}

// A turn ends after few rows that are large, as after many that are small.
func TestVerificationTurns(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	l.must(e, "create table small(a); insert into small with recursive n(i) as (select 1 union all select i + 1 from n limit 1000) select i from n; create table large(a); insert into large select zeroblob(400000) from small limit 20")
	conn, err := openSnapshotReader(e.file())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for table, want := range map[string]int64{"small": rowsPerTurn, "large": 3} {
		h := contentHasher{sum: sha256.New(), rows: new(atomic.Int64)}
		stmt, err := conn.Internal("select a from " + table)
		if err != nil {
			t.Fatal(err)
		}
		if more, err := h.some(stmt); err != nil || !more || h.rows.Load() != want {
			t.Errorf("%s: %d rows instead of %d, %v, %v", table, h.rows.Load(), want, more, err)
		}
		stmt.Release()
	}
}

// What an entry has begun is known before Applied tells of it: who finds an id unknown that is past will find it so for ever.
// An id that comes twice ends the first of its name and is counted once.
func TestVerificationIsKnownBeforeApplied(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	e := openEngine(t, Config{})
	first := len(l.entries) + 1
	for i := range 300 {
		l.verify(fmt.Sprintf("ver%5d", i))
	}
	applied := make(chan error, 1)
	go func() {
		for _, entry := range l.entries {
			if _, err := e.Apply([]raft.Entry{entry}); err != nil {
				applied <- err
				return
			}
		}
		applied <- nil
	}()
	past, cancel := context.WithCancel(t.Context())
	cancel()
	for at := 0; at < len(l.entries); {
		if at = int(e.Applied()); at < first {
			continue
		}
		_, err := e.Verification(past, [8]byte(fmt.Appendf(nil, "ver%5d", at-first)))
		if errors.Is(err, ErrVerificationUnknown) && int(e.Applied()) < at+maxVerifications-1 { // else newer ones have taken its place
			t.Fatalf("entry %d is applied, and what it began is unknown", at)
		}
	}
	if err := <-applied; err != nil {
		t.Fatal(err)
	}
	var causes [2]error
	for i := range causes {
		e.verifications.add(verification{1}, &verifying{done: make(chan struct{}), cancel: func(cause error) { causes[i] = cause }})
	}
	if !errors.Is(causes[0], ErrVerificationReplaced) || causes[1] != nil || len(e.verifications.order) != maxVerifications {
		t.Errorf("of two of one name: %v; %d are known", causes, len(e.verifications.order))
	}
}
