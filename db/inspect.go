package db

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft/wal"
)

// openStopped opens the data directory of a node that does not run. It makes nothing.
func openStopped(path string) (d *directory, self nodeFile, err error) {
	if _, err := os.Stat(filepath.Join(path, "node.json")); errors.Is(err, fs.ErrNotExist) {
		return nil, self, fmt.Errorf("%s is no node's data directory: there is no node.json in it", path)
	} else if err != nil {
		return nil, self, fmt.Errorf("looking for a node: %w", err)
	}
	if d, err = openDirectory(path); err != nil {
		return nil, self, err
	}
	if self, _, err = d.load(); err != nil {
		return nil, self, errors.Join(err, d.Close())
	}
	return d, self, nil
}

// Inspect reads the log in the data directory of a node that does not run, and changes nothing. ErrInUse says that it
// runs.
func Inspect(path string) (i wal.Inspection, err error) {
	d, self, err := openStopped(path)
	if err != nil {
		return i, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	cluster, err := self.cluster()
	if err != nil {
		return i, err
	}
	if i, err = wal.Inspect(wal.OS(), d.file("wal")); err != nil {
		return i, err
	}
	if i.Node == 0 { // no header is left that says whose log it is
		i.Node, i.Cluster = self.Node, cluster
	}
	if i.Node != self.Node || i.Cluster != cluster {
		return i, fmt.Errorf("the log in %s is node %d's of cluster %x, and node.json says node %d of cluster %x",
			path, i.Node, i.Cluster, self.Node, cluster)
	}
	return i, nil
}

// AcceptLoss makes the damaged log of a node that does not run one that it starts with; see wal.AcceptLoss for what that
// may cost. ErrInUse says that it runs.
func AcceptLoss(path string) (done wal.Repaired, err error) {
	d, self, err := openStopped(path)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	cluster, err := self.cluster()
	if err != nil {
		return done, err
	}
	e, err := engine.Open(engine.Config{Dir: d.file("db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return done, fmt.Errorf("opening the database: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	base, err := e.Durable()
	if err != nil {
		return done, err
	}
	return wal.AcceptLoss(wal.Options{Dir: d.file("wal"), Cluster: cluster, Node: self.Node, Seed: rand.Uint64()}, base)
}
