package testcluster_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// TestBrokenLogEndsTheProcess proves: a node that cannot write its log ends with an exit code other than zero and a line
// that says why, the others go on, and the node does not start again without its log.
func TestBrokenLogEndsTheProcess(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	nodes[0].exec("create table big(x)")
	broken := leaderOf(t, nodes...)
	others := except(nodes, broken)
	if err := os.RemoveAll(filepath.Join(broken.data, "wal")); err != nil {
		t.Fatal(err)
	}
	// What is open can still be written to: the end comes when the log needs its next file.
	eventually(t, broken.name+" to end", func(ctx context.Context) error {
		select {
		case <-broken.exited:
			return nil
		default:
		}
		err := withConn(ctx, broken.config(), func(c *driver.Conn) error {
			_, err := query(ctx, c, driver.LevelSession, "insert into big values(?)", make([]byte, 100_000))
			return err
		})
		if err == nil {
			err = errors.New("it still writes")
		}
		return err
	})
	if code := broken.command.ProcessState.ExitCode(); code <= 0 {
		t.Errorf("it ends with exit code %d", code)
	}
	if log := broken.logs.String(); !strings.Contains(log, "writing the log") || strings.Contains(log, "goroutine ") {
		t.Errorf("it says\n%s", tail(log, 20))
	}
	leaderOf(t, others...).exec("insert into big values(1)")
	broken.launch()
	select {
	case <-broken.exited:
	case <-time.After(patience):
		t.Fatal("it starts without its log")
	}
	if !strings.Contains(broken.logs.String(), "log is gone") {
		t.Errorf("it says\n%s", tail(broken.logs.String(), 20))
	}
}
