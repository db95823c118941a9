package testcluster_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

// TestPromoteLagging proves: a learner that lags is not promoted, the refusal says how much it lags, and once it has caught
// up the same command promotes it; one that is down is refused too.
func TestPromoteLagging(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c, err := testcluster.Start(ctx, testcluster.Config{Nodes: 1, Learners: 1, Dir: t.TempDir(), Seed: 1,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	promote := func(ctx context.Context) error {
		return withConn(ctx, at(c, 1), func(conn *driver.Conn) error {
			_, err := control(ctx, conn, "promote", "n2")
			return err
		})
	}
	c.Disk(2).Stall()
	mustAsk(t, ctx, c, 1, "create table t(x)")
	for i := range 10 {
		mustAsk(t, ctx, c, 1, fmt.Sprintf("insert into t values(%d)", i))
	}
	if err := promote(ctx); err == nil || !strings.Contains(err.Error(), "lags: it has entries up to") || strings.Contains(err.Error(), ", 0 less") {
		t.Errorf("a learner that lags is promoted with %v", err)
	}
	c.Disk(2).Resume()
	if err := c.Kill(2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the refusal of a learner that is down", func(ctx context.Context) error {
		if err := promote(ctx); err == nil || !strings.Contains(err.Error(), "cannot be reached: start it") {
			return fmt.Errorf("it is promoted with %v", err)
		}
		return nil
	})
	if err := c.Restart(ctx, 2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the learner to be promoted", promote)
	if got := c.Node(1).Status().Raft.Configuration; len(got.Voters) != 2 {
		t.Errorf("the members are %v", got)
	}
}
