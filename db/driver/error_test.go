package driver

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// TestSentinels proves which errors of a node each sentinel names.
func TestSentinels(t *testing.T) {
	all := map[string]error{"constraint": ErrConstraint, "unique": ErrUnique, "primary key": ErrPrimaryKey, "foreign key": ErrForeignKey, "not null": ErrNotNull,
		"check": ErrCheck, "busy": ErrBusy, "no quorum": ErrNoQuorum, "unknown": ErrOutcomeUnknown, "stale": ErrStale,
		"too large": ErrTooLarge, "denied": ErrDenied, "cancelled": ErrCancelled, "shutting down": ErrShuttingDown, "protocol": ErrProtocol}
	sql := func(code, extended int32) *sqlpb.Error {
		return &sqlpb.Error{Class: sqlpb.Class_CLASS_SQL, Code: code, ExtendedCode: extended}
	}
	tests := []struct {
		e    *sqlpb.Error
		want []string
	}{
		{sql(1, 1), nil},
		{sql(19, 2067), []string{"constraint", "unique"}},
		{sql(19, 1555), []string{"constraint", "unique", "primary key"}},
		{sql(19, 2579), []string{"constraint", "unique", "primary key"}},
		{sql(0, 787), []string{"constraint", "foreign key"}},
		{sql(19, 1299), []string{"constraint", "not null"}},
		{sql(19, 275), []string{"constraint", "check"}},
		{sql(5, 5), nil}, // SQLite's own busy is no busy of the cluster
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_BUSY, ExtendedCode: 2067}, []string{"busy"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_NO_QUORUM}, []string{"no quorum"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_OUTCOME_UNKNOWN}, []string{"unknown"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_STALE}, []string{"stale"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_TOO_LARGE}, []string{"too large"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_DENIED}, []string{"denied"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_CANCELLED}, []string{"cancelled"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_SHUTTING_DOWN}, []string{"shutting down"}},
		{&sqlpb.Error{Class: sqlpb.Class_CLASS_PROTOCOL}, []string{"protocol"}},
		{&sqlpb.Error{Class: 99}, []string{"protocol"}},
	}
	for _, test := range tests {
		wanted := make(map[string]bool)
		for _, name := range test.want {
			wanted[name] = true
		}
		for name, sentinel := range all {
			if got := errors.Is(wireError(test.e), sentinel); got != wanted[name] {
				t.Errorf("%v is %s: %v", test.e, name, got)
			}
		}
	}
	if len(classes) != len(sqlpb.Class_name)-1 || len(retries) != len(sqlpb.Retry_name) {
		t.Error("a class or retry of the protocol has no name here")
	}
}

// TestErrorFields proves that an error keeps what the node said, and that libraries which read it as JSON find the codes.
func TestErrorFields(t *testing.T) {
	e := wireError(&sqlpb.Error{Class: sqlpb.Class_CLASS_SQL, Code: 19, ExtendedCode: 2067, Message: "unique constraint failed: t.a",
		Offset: 7, Retry: sqlpb.Retry_RETRY_TRANSACTION, Sql: "insert"})
	if want := (Error{Code: 19, ExtendedCode: 2067, Message: "unique constraint failed: t.a", Offset: 7, Class: ClassSQL, Retry: RetryTransaction, SQL: "insert"}); *e != want {
		t.Errorf("got %+v, want %+v", *e, want)
	}
	text, err := json.Marshal(e)
	var read struct{ Code, ExtendedCode int }
	if err != nil || json.Unmarshal(text, &read) != nil || read.Code != 19 || read.ExtendedCode != 2067 {
		t.Errorf("as JSON: %s, %v", text, err)
	}
}
