package db_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
)

// All nodes of a cluster change their addresses while they are down and are given the address of one, which has missed entries
// and cannot lead: they find each other through it, and the table of members follows.
func TestAllAddressesChange(t *testing.T) {
	c := startCluster(t, 500*time.Millisecond)
	for range 2 {
		c.add(false)
	}
	c.awaitVoters(5)
	mustRun(t, c.open(0), "create table t(x)")
	for i, n := range c.nodes {
		closeNode(t, n)
		if i == 0 { // the others go on without the first one
			eventually(t, "writing without the first node", func() error {
				_, err := run(t, c.open(1), driver.Request{SQL: "insert into t values(1)"})
				return err
			})
		}
	}
	before := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		before[i] = n.Address()
		config := db.Config{Data: c.dir(i), Listen: fmt.Sprintf("127.0.0.%d:0", 20+i), ElectionTimeout: c.election,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("on", i+1)}
		if i > 0 {
			config.Join = []string{c.nodes[0].Address()}
		}
		c.nodes[i] = openWith(t, config)
	}
	eventually(t, "waiting for all to know all", func() error {
		for i := range c.nodes {
			rows, err := control(t, c.open(i), "nodes")
			if err != nil {
				return err
			}
			for j, n := range c.nodes {
				if got := fmt.Sprint(rows); !strings.Contains(got, n.Address()) || strings.Contains(got, before[j]) || strings.Contains(got, "unreachable") {
					return fmt.Errorf("node %d knows %s", i+1, got)
				}
			}
		}
		return nil
	})
	for i := range c.nodes {
		expect(t, c.open(i), driver.Request{SQL: "select count(*) from t", Level: driver.LevelLinearizable}, "[[1]]")
	}
	mustRun(t, c.open(0), "insert into t values(2)")
}
