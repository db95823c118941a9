package db

import (
	"context"
	"testing"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A leader's error arrives as it is, but for what only this node can say: that the leader goes while another will come,
// and why a request was cancelled.
func TestRelayedRefusals(t *testing.T) {
	n := openUnit(t)
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	never, same := sqlpb.Retry_RETRY_NEVER, sqlpb.Retry_RETRY_SAME
	goes := &sqlpb.Error{Class: sqlpb.Class_CLASS_SHUTTING_DOWN, Retry: same, Message: "leader's words"}
	partly := &sqlpb.Error{Class: sqlpb.Class_CLASS_SHUTTING_DOWN, Retry: never, Message: "leader's words"}
	cancelled := &sqlpb.Error{Class: sqlpb.Class_CLASS_CANCELLED, Message: "leader's words"}
	for _, test := range []struct {
		name            string
		ctx             context.Context
		e               *sqlpb.Error
		passed, changes bool
		class           sqlpb.Class
		retry           sqlpb.Retry
		own             bool // the message is this node's
	}{
		{"the leader goes", t.Context(), goes, false, true, sqlpb.Class_CLASS_NO_QUORUM, same, true},
		{"it goes in the middle of the answer", t.Context(), goes, true, false, sqlpb.Class_CLASS_SHUTTING_DOWN, never, false},
		{"it goes in the middle of the request", t.Context(), partly, false, true, sqlpb.Class_CLASS_SHUTTING_DOWN, never, false},
		{"a read at the deadline", late, cancelled, false, false, sqlpb.Class_CLASS_CANCELLED, never, true},
		{"a write at the deadline", late, cancelled, false, true, sqlpb.Class_CLASS_CANCELLED, never, false},
		{"the leader's own deadline", t.Context(), cancelled, false, false, sqlpb.Class_CLASS_CANCELLED, never, false},
	} {
		c := relayCall{session: &session{node: n}, to: &relay{leader: 2}, passed: test.passed, changes: test.changes}
		got := c.refusal(test.ctx, test.e)
		if got.Class != test.class || got.Retry != test.retry || (got.Message != test.e.Message) != test.own {
			t.Errorf("%s: %v, %v, %q; want %v, %v", test.name, got.Class, got.Retry, got.Message, test.class, test.retry)
		}
	}
}

// A relay that breaks leaves the outcome of a write unknown, and of a read nothing: it is made again, unless the client
// has rows of it.
func TestRelayBroke(t *testing.T) {
	n := openUnit(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name            string
		ctx             context.Context
		passed, changes bool
		class           sqlpb.Class
		again           bool
	}{
		{"a write", t.Context(), false, true, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, false},
		{"a cancelled write", over, false, true, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, false},
		{"a read", t.Context(), false, false, sqlpb.Class_CLASS_NO_QUORUM, true},
		{"a read with rows", t.Context(), true, false, sqlpb.Class_CLASS_NO_QUORUM, false},
		{"a cancelled read", over, false, false, sqlpb.Class_CLASS_CANCELLED, false},
	} {
		c := relayCall{session: &session{node: n}, to: &relay{leader: 2}, passed: test.passed, changes: test.changes}
		if got := c.broke(test.ctx, errReplaced); got.Class != test.class || got.notExecuted() != test.again {
			t.Errorf("%s: %v, %v, %v", test.name, got.Class, got.Retry, got)
		}
	}
}
