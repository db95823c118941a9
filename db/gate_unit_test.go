package db

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

func waiting(name string) *transaction {
	return &transaction{session: &session{principal: identity.Principal{Name: name}, remote: "here"}, begun: time.Now()}
}

// Plain writes pass together and a transaction alone, in the order in which they came: neither kind overtakes the other.
func TestGateOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{idle: time.Hour}
		var mu sync.Mutex
		var passed []string
		pass := func(name string, tx *transaction) {
			go func() {
				if failed := g.pass(t.Context(), tx); failed != nil {
					t.Error(failed)
				}
				mu.Lock()
				defer mu.Unlock()
				passed = append(passed, name)
			}()
			synctest.Wait()
		}
		at := func(want string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			slices.Sort(passed) // those that pass together do so in no order
			if got := strings.Join(passed, " "); got != want {
				t.Errorf("passed: %q, want %q", got, want)
			}
			passed = nil
		}
		a, b := waiting("a"), waiting("b")
		pass("w1", nil)
		pass("w2", nil)
		at("w1 w2")
		pass("a", a)
		pass("w3", nil)
		pass("w4", nil)
		pass("b", b)
		pass("w5", nil)
		at("")
		g.leave()
		at("")
		g.leave()
		at("a")
		g.release(b) // it has nothing
		at("")
		g.release(a)
		at("w3 w4")
		g.leave()
		g.leave()
		at("b")
		g.release(b)
		at("w5")
		g.leave()
		pass("a", a)
		at("a")
		g.release(a)
	})
}

// Who gives up waiting keeps nobody from passing, and learns who was in the way.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{idle: time.Hour}
		if failed := g.enter(t.Context()); failed != nil {
			t.Fatal(failed)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gaveUp := make(chan *Error, 1)
		go func() { gaveUp <- g.acquire(short, waiting("impatient")) }()
		synctest.Wait()
		behind := make(chan *Error, 1)
		go func() { behind <- g.enter(t.Context()) }()
		synctest.Wait()
		if failed := <-gaveUp; failed == nil || failed.Class != sqlpb.Class_CLASS_BUSY {
			t.Errorf("gave up with %v", failed)
		}
		if failed := <-behind; failed != nil {
			t.Error(failed)
		}
		g.leave()
		g.leave()

		holder := waiting("holder")
		if failed := g.acquire(t.Context(), holder); failed != nil {
			t.Fatal(failed)
		}
		again, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if failed := g.enter(again); failed == nil || !strings.Contains(failed.Message, "holder at here") {
			t.Errorf("gave up with %v", failed)
		}
		cancelled, end := context.WithCancel(t.Context())
		end()
		if failed := g.acquire(cancelled, waiting("x")); failed == nil || failed.Class != sqlpb.Class_CLASS_CANCELLED {
			t.Errorf("cancelled: %v", failed)
		}
		g.release(holder)
		if g.passing != 0 || g.holder != nil || len(g.queue) != 0 {
			t.Errorf("left behind: %+v", g)
		}
	})
}
