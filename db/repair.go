package db

import (
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/snapshot"
	"github.com/rsqld/rsqld/transport/identity"
)

// openLog opens the log and the database beside it, and repairs the log if it is damaged and the others can give back
// what is missing here. The log comes first: without it this is not the node any more, and nothing is made in its name.
func (n *Node) openLog() (*wal.WAL, wal.Recovered, error) {
	log, recovered, err := wal.Open(n.walOptions(n.cluster))
	damaged := errors.As(err, new(*wal.CorruptionError))
	if err != nil && !damaged {
		return nil, wal.Recovered{}, n.logError(err)
	}
	if err := n.openEngine(); err != nil {
		return nil, wal.Recovered{}, errors.Join(err, closeLog(log))
	}
	base, err := n.engine.Base()
	if err != nil {
		return nil, wal.Recovered{}, errors.Join(fmt.Errorf("asking the database how far it came: %w", err), closeLog(log))
	}
	// A log that begins later than the database goes has lost its oldest part.
	if !damaged && recovered.Log.Base.Index <= base.Applied.Index {
		return log, recovered, nil
	}
	if err := closeLog(log); err != nil {
		return nil, wal.Recovered{}, fmt.Errorf("closing the log: %w", err)
	}
	if err := n.repairLog(); err != nil {
		return nil, wal.Recovered{}, err
	}
	if log, recovered, err = wal.Open(n.walOptions(n.cluster)); err != nil {
		return nil, wal.Recovered{}, n.logError(err)
	}
	return log, recovered, nil
}

func closeLog(log *wal.WAL) error {
	if log == nil {
		return nil
	}
	return log.Close()
}

func (n *Node) openEngine() (err error) {
	copies := n.dir.file(snapshotDir)
	if err := snapshot.Clean(copies); err != nil {
		return err
	}
	if n.engine, err = engine.Open(engine.Config{Dir: n.dir.file("db"), SnapshotDir: copies, StageDir: n.dir.file(stageDir), Logger: n.log,
		MaxReaders: n.config.MaxReaders, ReaderTimeout: n.config.ReaderTimeout}); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	if n.snapshots.arrivals, err = snapshot.OpenArrivals(wal.OS(), copies); err != nil {
		return err
	}
	if n.restores.stage, err = openStage(n.dir.file(stageDir), n.engine); err != nil {
		return err
	}
	if cluster := n.engine.Cluster(); cluster != (identity.Cluster{}) && cluster != n.cluster {
		return fmt.Errorf("%s holds the database of cluster %x and node.json names cluster %x: the directory mixes two nodes",
			n.dir.path, cluster, n.cluster)
	}
	if err := n.checkEpoch(); err != nil {
		return err
	}
	n.recallQuarantine()
	return nil
}

// checkEpoch refuses a database of a later epoch than node.json's, or of another recovery.
func (n *Node) checkEpoch() error {
	epoch, err := identity.ParseEpoch(n.engine.Epoch())
	if err != nil {
		return fmt.Errorf("reading the epoch of the database: %w", err)
	}
	if mine := n.self.Epoch; epoch.Number > mine.Number || epoch.Number == mine.Number && epoch != mine {
		return fmt.Errorf("%s holds the database of epoch %v and node.json names epoch %v: the directory mixes two nodes, or node.json is older than the recovery",
			n.dir.path, epoch, mine)
	}
	return nil
}

// repairLog makes a log that can be opened of a damaged one. Entries that the database holds leave the log with that, so
// the database is made durable before.
func (n *Node) repairLog() error {
	base, err := n.engine.Durable()
	if err != nil {
		return fmt.Errorf("repairing the log: %w", err)
	}
	done, err := wal.Repair(n.walOptions(n.cluster), base)
	if errors.Is(err, raft.ErrLost) {
		return fmt.Errorf("%w; remove this node from the cluster (rsqld remove %d) and join a new one, or, if no other node is left, restore a backup or accept the loss: rsqld inspect --accept-loss %s",
			err, n.self.Node, n.dir.path)
	}
	if err != nil {
		return fmt.Errorf("repairing the log: %w", err)
	}
	keys := []any{"node", n.self.Node, "index", done.Last.Index, "err", done.Damage}
	if done.Lost == (raft.EntryID{}) {
		n.log.Warn("the log was damaged where the database has what it held; nothing is lost", keys...)
		return nil
	}
	n.log.Warn("the log was damaged; this node does not lead until the others have given back what is missing",
		append(keys, "lost", fmt.Sprintf("%d to %d", done.Last.Index+1, done.Lost.Index))...)
	return nil
}
