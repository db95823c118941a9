package db

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// A verification waits for a member as long as that gets on, however slowly, and verifyPatience longer; it says of a member
// that does not why it has no hash, and takes what it answers at its word.
func TestAwaitHash(t *testing.T) {
	const slow = verifyPatience - time.Second
	answers := func(took time.Duration, list ...hashing) func(context.Context) (hashing, *Error) {
		return func(ctx context.Context) (hashing, *Error) {
			if _, ended := pause(ctx, took, nil); ended != nil {
				return hashing{}, ended
			}
			h := list[0]
			if len(list) > 1 {
				list = list[1:]
			}
			return h, nil
		}
	}
	never := func(ctx context.Context) (hashing, *Error) {
		<-ctx.Done()
		return hashing{}, ended(ctx)
	}
	behind := func(applied int64) hashing { return hashing{rows: -1, applied: applied} }
	hashed := func(rows int64) hashing { return hashing{rows: rows, applied: 9} }
	lost := func(context.Context) (hashing, *Error) { return hashing{}, noLeader("the connection was lost") }
	const stuck = "it has hashed 7 rows, and has not got on for 30s"
	for name, test := range map[string]struct {
		ask  func(context.Context) (hashing, *Error)
		want string
		most time.Duration
	}{
		"has it":       {answers(0, hashing{hash: "abc"}), "abc", 0},
		"says why not": {answers(0, hashing{why: "it was restarted"}), "it was restarted", 0},
		"is behind and slow": {
			answers(slow, behind(1), behind(2), hashed(0), hashed(5), hashing{hash: "abc"}), "abc", 6 * verifyPatience,
		},
		"is not at work": {
			answers(0, behind(1)), "it has applied index 1, and has not got on for 30s", verifyPatience + time.Second,
		},
		"is stuck":  {answers(0, behind(1), hashed(7)), stuck, verifyPatience + time.Second},
		"goes back": {answers(time.Second, hashed(7), hashed(6), behind(9)), stuck, verifyPatience + 3*time.Second},
		"is silent": {never, "it has not answered for 30s", verifyPatience},
		"falls silent": {func() func(context.Context) (hashing, *Error) {
			once := answers(0, hashed(7))
			return func(ctx context.Context) (h hashing, failed *Error) {
				h, failed = once(ctx)
				once = never
				return h, failed
			}
		}(), stuck, verifyPatience + time.Second},
		"is lost": {lost, "the connection was lost", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				h := awaitHash(t.Context(), test.ask)
				if h.hash+h.why != test.want || time.Since(began) > test.most {
					t.Errorf("%+v after %v, want %q after %v at most", h, time.Since(began), test.want, test.most)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // the client has gone
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if h := awaitHash(ctx, answers(0, behind(1))); !strings.Contains(h.why, "deadline") {
			t.Errorf("%+v", h)
		}
	})
}

// A member says at once that it will have no hash: because it is quarantined, or was past the entry when it began to know of
// verifications. Where it may still have one it says how far it is.
func TestHashing(t *testing.T) {
	n, err := Open(t.Context(), Config{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ask := func(id string, index raft.Index) hashing {
		t.Helper()
		h, failed := n.hashing(t.Context(), id, index)
		if failed != nil {
			t.Fatal(failed)
		}
		return h
	}
	applied := n.engine.Applied()
	if h := ask("0102030405060708", applied); !strings.Contains(h.why, "verify again") || h.hash != "" {
		t.Errorf("an id of before the start: %+v", h)
	}
	if h := ask("0102030405060708", applied+100); h.ended() || h.rows != -1 || h.applied < int64(applied) {
		t.Errorf("an entry to come: %+v", h)
	}
	if _, failed := n.hashing(t.Context(), "no digits", 1); failed == nil {
		t.Error("an id that is none is taken")
	}
	n.noteQuarantine(n.engine.Chain(), quarantine{Index: 1, Mine: "0a"})
	if h := ask("0102030405060708", applied+100); !strings.Contains(h.why, "quarantined") || !strings.Contains(h.why, "nobody can say") {
		t.Errorf("a quarantined node: %+v", h)
	}
}

// What one member tells another of its hashing arrives as it was; anything else is refused.
func TestHashingRows(t *testing.T) {
	h := hashing{hash: "abc", rows: 7, applied: 9, seconds: 0.5, why: "no reason"}
	if got, ok := hashingOf(h.row()); !ok || got != h {
		t.Errorf("%+v arrives as %+v, %v", h, got, ok)
	}
	for i := range h.row() {
		row := h.row()
		row[i] = nil
		if got, ok := hashingOf(row); ok {
			t.Errorf("%v is taken for %+v", row, got)
		}
	}
	if _, ok := hashingOf(h.row()[:4]); ok {
		t.Error("a row that is too short is taken")
	}
}
