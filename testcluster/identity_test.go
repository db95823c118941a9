package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
)

// TestLostLogIsRefused proves: a node whose log is gone does not come back under its id, whatever else is left of it; it
// says what to do, and makes nothing in its directory.
func TestLostLogIsRefused(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	nodes[0].exec("create table t(x)")
	lost := nodes[2]
	id := lost.id()
	lost.kill()
	for name, remains := range map[string][]string{
		"wal/ deleted":             {"node.json", "tls", "db"},
		"wal/ empty":               {"node.json", "tls", "db", "wal/"},
		"identity on another disk": {"node.json", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "left")
			for _, part := range remains {
				copyPart(t, lost.data, dir, part)
			}
			before := listing(t, dir)
			out, code := rsqld(t, "", "--data", dir, "--listen", lost.address, "--http", "off",
				"--join", nodes[0].address, "--token", "@"+filepath.Join(nodes[0].data, "join-token"))
			for _, says := range []string{"log is gone", fmt.Sprintf("rsqld remove %d", id), "empty --data"} {
				if code != 1 || !strings.Contains(out, says) {
					t.Errorf("it exits with %d and prints\n%s\nwant exit code 1 and %q", code, out, says)
				}
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory held %s and holds %s", before, after)
			}
		})
	}
}

// copyPart copies a file or directory of a node; one that ends with a slash is made empty.
func copyPart(t *testing.T, from, to, part string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	source, target := filepath.Join(from, part), filepath.Join(to, part)
	stat, err := os.Stat(source)
	switch {
	case err != nil:
	case strings.HasSuffix(part, "/"):
		err = os.Mkdir(target, 0o700)
	case stat.IsDir():
		err = os.CopyFS(target, os.DirFS(source))
	default:
		err = os.WriteFile(target, []byte(readFile(t, source)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// listing are the names in a directory, but for its lock.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if name := strings.TrimPrefix(path, dir); name != "/LOCK" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// TestWipedDiskIsANewNode proves: a node that starts again on an empty directory, with the same command and address, is
// another node with a new id that learns before it votes; the old id is never given out again, removed or not.
func TestWipedDiskIsANewNode(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	nodes[0].exec("create table t(x)", "insert into t values(1)")
	used := map[int64]bool{}
	for _, p := range nodes {
		used[p.id()] = true
	}
	wiped := nodes[2]
	for round := range 2 {
		old := wiped.id()
		wiped.kill()
		if err := os.RemoveAll(wiped.data); err != nil {
			t.Fatal(err)
		}
		if round == 0 { // in the other round the cluster learns of it later
			nodes[0].control("remove", fmt.Sprint(old))
		}
		wiped.start()
		id := wiped.id()
		if used[id] {
			t.Fatalf("the wiped node %d came back as node %d", old, id)
		}
		used[id] = true
		wiped.eventuallyValue(int64(1), "select count(*) from t")
		if round == 1 {
			nodes[0].control("remove", fmt.Sprint(old))
		}
		awaitVoters(t, 3, nodes...)
	}
}

// id asks a node for its id.
func (p *process) id() (id int64) {
	p.t.Helper()
	p.eventually("to tell its id", func(ctx context.Context) error {
		return withConn(ctx, p.config(), func(c *driver.Conn) error {
			id = int64(c.Node())
			if id == 0 {
				return errors.New("it names none")
			}
			return nil
		})
	})
	return id
}

// control runs a control verb through a node.
func (p *process) control(verb string, args ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := withConn(ctx, p.config(), func(c *driver.Conn) error {
		_, err := control(ctx, c, verb, args...)
		return err
	})
	if err != nil {
		p.t.Fatalf("%s %v: %v", verb, args, err)
	}
}
