package db_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// rowOf returns what the list of sessions says of one.
func rowOf(t *testing.T, list []string, session []byte) string {
	t.Helper()
	found := ""
	for _, line := range list {
		if strings.HasPrefix(line, "["+hex.EncodeToString(session)) {
			if found != "" {
				t.Errorf("listed twice: %s and %s", found, line)
			}
			found = line
		}
	}
	return found
}

// Any node lists the sessions of all: what each does, and which one keeps others from writing; and any node ends what one of
// them does.
func TestSessions(t *testing.T) {
	c := startCluster(t, time.Second)
	leader := c.leader()
	mustRun(t, c.open(leader), "create table t(a)")
	for i := range c.nodes {
		asker := c.open((i + 1) % 3)
		r := c.raw(i)
		id := hex.EncodeToString(r.session)
		list := func() []string {
			list, err := control(t, asker, "sessions")
			if err != nil {
				t.Fatal(err)
			}
			return list
		}
		if row := rowOf(t, list(), r.session); !strings.Contains(row, "tester 127.0.0.1:") || !strings.Contains(row, fmt.Sprintf(" %d session idle ", c.nodes[i].ID())) {
			t.Errorf("an idle session is listed as %q", row)
		}
		r.begin(&sqlpb.Begin{}).well(t, isOpen)
		if row := rowOf(t, list(), r.session); !strings.Contains(row, "idle in a transaction") || !strings.HasSuffix(row, " holds]") {
			t.Errorf("a session with a transaction is listed as %q", row)
		}
		if _, err := control(t, asker, "cancel", id[:20]); err != nil {
			t.Error(err)
		}
		eventually(t, "the transaction to end", func() error {
			if a := r.in("select 1"); a.err == nil {
				return errors.New("it goes on")
			}
			return nil
		})
		r.rollback().well(t, isNone)
		endless := "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
		r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_STRONG}, endless)
		eventually(t, "the statement to be listed", func() error {
			if row := rowOf(t, list(), r.session); !strings.Contains(row, "running") || !strings.Contains(row, endless) {
				return fmt.Errorf("listed as %q", row)
			}
			return nil
		})
		if _, err := control(t, asker, "cancel", id); err != nil {
			t.Error(err)
		}
		if a := r.answer(); a.err == nil || a.err.Class != sqlpb.Class_CLASS_CANCELLED {
			t.Errorf("the statement ended with %v", a)
		}
		r.execute(&sqlpb.Execute{}, "select 1")
		r.answer().well(t, isNone)
		for _, wrong := range []string{"abc", "xyzw", "00000000", ""} {
			if _, err := control(t, asker, "cancel", wrong); err == nil {
				t.Errorf("%q was cancelled", wrong)
			}
		}
	}
}
