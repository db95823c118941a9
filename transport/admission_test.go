package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
)

func address(port int) net.Addr { return &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port} }

// openAdmission returns an admission and the number of its refusals.
func openAdmission(limits Limits) (*admission, *atomic.Int64) {
	refused := new(atomic.Int64)
	return newAdmission(limits.withDefaults(), func(net.Addr, error) { refused.Add(1) }), refused
}

// begins tries a handshake; end ends it as failed.
func begins(t *testing.T, a *admission, port int, verified bool) (end func(), err error) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err = a.begin(ctx, &quic.ClientInfo{RemoteAddr: address(port), AddrVerified: verified})
	return func() { cancel(&quic.HandshakeTimeoutError{}) }, err
}

// No more than the limit are let in at a time, except peers; a handshake that ends makes room.
func TestHandshakesAtOnce(t *testing.T) {
	a, refused := openAdmission(Limits{Handshakes: 2})
	a.know(7, address(7).String())
	end, err := begins(t, a, 100, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := begins(t, a, 101, true); err != nil {
		t.Fatal(err)
	}
	if _, err := begins(t, a, 102, true); !errors.Is(err, errManyHandshakes) {
		t.Errorf("the third: %v", err)
	}
	if _, err := begins(t, a, 7, true); err != nil {
		t.Errorf("a peer: %v", err)
	}
	a.forget(7)
	if _, err := begins(t, a, 7, true); !errors.Is(err, errManyHandshakes) {
		t.Errorf("a former peer: %v", err)
	}
	end()
	await(t, "the failure to be noted", func() bool { return refused.Load() == 3 })
	if _, err := begins(t, a, 103, true); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

// Newcomers must show that they receive at their address once too many have not.
func TestUnvalidatedHandshakes(t *testing.T) {
	a, refused := openAdmission(Limits{Unvalidated: 2})
	var ends []func()
	for i := range 2 {
		if a.mustEcho(address(i)) {
			t.Fatalf("handshake %d must echo", i)
		}
		end, err := begins(t, a, i, false)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	if _, err := begins(t, a, 3, true); err != nil {
		t.Fatal(err)
	}
	a.know(7, address(7).String())
	for range 2 {
		if a.mustEcho(address(7)) {
			t.Error("a peer must echo because of others")
		}
		if _, err := begins(t, a, 7, false); err != nil {
			t.Fatal(err)
		}
	}
	if !a.mustEcho(address(7)) {
		t.Error("the third that looks like the peer need not echo")
	}
	if !a.mustEcho(address(4)) {
		t.Error("the third need not echo")
	}
	ends[0]()
	await(t, "the failure to be noted", func() bool { return refused.Load() == 1 })
	if a.mustEcho(address(4)) {
		t.Error("after one ended the next must echo")
	}
}

// No more handshakes are let in a second than the limit says.
func TestHandshakesPerSecond(t *testing.T) {
	a, _ := openAdmission(Limits{HandshakesPerSecond: 3})
	var last error
	for range 4 {
		end, err := begins(t, a, 1, true)
		end()
		last = err
	}
	if !errors.Is(last, errFastHandshakes) {
		t.Errorf("the fourth: %v", last)
	}
}

// A bucket gives its burst at once, then its rate, and saves up no more than its burst.
func TestBucket(t *testing.T) {
	b := bucket{rate: 2, burst: 3}
	now := time.Unix(1000, 0)
	for _, step := range []struct {
		after time.Duration
		want  int
	}{{0, 3}, {0, 0}, {499 * time.Millisecond, 0}, {time.Millisecond, 1}, {time.Second, 2}, {time.Hour, 3}, {-time.Hour, 0}} {
		now = now.Add(step.after)
		got := 0
		for b.take(now) {
			got++
		}
		if got != step.want {
			t.Errorf("after %v: %d, want %d", step.after, got, step.want)
		}
	}
}

// forgive lets the next refusal be logged.
func (r *refusals) forgive() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.credit.spent = 0
}

// Refusals are logged a few times, then with pauses, and it is said how many were not.
func TestRefusalsAreLimited(t *testing.T) {
	logs := new(logs)
	r := newRefusals(logs.logger())
	for i := range 100 {
		r.add(address(i), errors.New("no"))
	}
	if got := len(logs.lines("refused a connection from", ": no")); got != refusalBurst {
		t.Errorf("%d lines, want %d", got, refusalBurst)
	}
	r.forgive()
	r.add(address(1), errors.New("no"))
	if want := fmt.Sprintf("not_logged_before=%d", 100-refusalBurst); len(logs.lines(want)) != 1 {
		t.Errorf("no line with %s:\n%v", want, logs.lines())
	}
}

// Complaints about a node are logged once for each kind, of so many kinds and nodes at most.
func TestComplaintsAreBounded(t *testing.T) {
	r := newRealm(t)
	a := r.start(1)
	for range 3 {
		for kind := range 2 * maxComplaints {
			a.complain(2, address(2), fmt.Errorf("kind %d", kind))
		}
	}
	if got := len(r.logs.lines("peer=2")); got != maxComplaints {
		t.Errorf("%d lines, want %d", got, maxComplaints)
	}
	for id := range raft.ID(2 * maxComplainers) {
		a.complain(100+id, address(2), errors.New("no"))
	}
	if got := len(a.complaints); got != maxComplainers {
		t.Errorf("%d nodes are remembered, want %d", got, maxComplainers)
	}
}
