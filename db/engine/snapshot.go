package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/snapshot"
)

// Snapshot implements raft.Snapshotter: it returns a *snapshot.Image. Entries are applied meanwhile, and reads go on. It
// reads the whole database at a pace that leaves the disk to others, without the limit of Config.ReaderTimeout, and ends
// early when the engine is closed.
func (e *Engine) Snapshot() (raft.SnapshotReader, error) {
	e.copying.RLock()
	defer e.copying.RUnlock()
	if e.closed.Load() {
		return nil, ErrClosed
	}
	if err := cmp.Or(e.Quarantined(), e.Damage()); err != nil {
		return nil, err
	}
	conn, err := sqlite.Open(e.file(), sqlite.CheckpointOptions())
	if err != nil {
		return nil, fmt.Errorf("opening the database for a snapshot: %w", err)
	}
	image, err := snapshot.Take(e.ctx, conn, e.config.SnapshotDir, e.Cluster(), func() (raft.Base, error) {
		s := new(state)
		err := s.loadMeta(conn)
		return s.base, err
	})
	if err := errors.Join(err, conn.Close()); err != nil {
		if image != nil {
			err = errors.Join(err, image.Close())
		}
		return nil, err
	}
	return image, nil
}

// Gather lets a snapshot that arrives take what this database holds of it (snapshot.Incoming.Gather), as it is now: entries
// are applied meanwhile. What the database has to say is not believed, so that it may be damaged or have diverged. It ends
// with ctx, and when the engine is closed.
func (e *Engine) Gather(ctx context.Context, in *snapshot.Incoming) error {
	e.copying.RLock()
	defer e.copying.RUnlock()
	if e.closed.Load() {
		return ErrClosed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(ErrClosed) })()
	conn, err := sqlite.Open(e.file(), sqlite.CheckpointOptions())
	if err != nil {
		return fmt.Errorf("opening the database beside a snapshot: %w", err)
	}
	return errors.Join(in.Gather(ctx, conn), conn.Close())
}

// mover is content that can be given a new name instead of being copied; a *snapshot.Incoming is one.
type mover interface{ MoveTo(path string) error }

// Restore implements raft.Snapshotter. The content becomes a new generation, which is whole, checked and durable before it
// is the one in use: a crash leaves the old one or the new one. Reads that run go on in the old one, which goes with the
// last of them; later ones see the new one. The result chains of earlier indexes are forgotten, and a quarantine has ended.
func (e *Engine) Restore(meta raft.SnapshotMeta, content io.ReaderAt) error {
	e.evict()
	defer e.applying.Unlock()
	if e.closed.Load() {
		return ErrClosed
	}
	next := e.generation.Load().next()
	installed, err := e.build(next, meta, content)
	if err != nil {
		return errors.Join(fmt.Errorf("installing a snapshot of %v: %w", meta.Applied, err), os.RemoveAll(next.path()))
	}
	e.use(next, installed)
	return nil
}

// build makes a generation of what a snapshot holds, and puts it in use for the next Open.
func (e *Engine) build(g generation, meta raft.SnapshotMeta, content io.ReaderAt) (*state, error) {
	if err := os.RemoveAll(g.path()); err != nil {
		return nil, err
	}
	if err := g.begin(); err != nil {
		return nil, err
	}
	if err := place(g.file(), meta.Size, content); err != nil {
		return nil, err
	}
	installed, err := e.examine(g.file(), meta)
	if err != nil {
		return nil, err
	}
	return installed, g.commit(wal.OS())
}

func place(path string, size int64, content io.ReaderAt) error {
	if m, ok := content.(mover); ok {
		return m.MoveTo(path)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(file, io.NewSectionReader(content, 0, size))
	if err == nil && n != size {
		err = fmt.Errorf("the content ends at %d of %d bytes", n, size)
	}
	return errors.Join(err, file.Close())
}

// examine refuses what is not a database of this cluster as of the entry that was promised.
func (e *Engine) examine(path string, meta raft.SnapshotMeta) (*state, error) {
	w, err := openWriter(path, false, e.config.Fault)
	if err != nil {
		return nil, err
	}
	s, own := w.state, e.Cluster()
	if err := w.close(); err != nil {
		return nil, err
	}
	switch {
	case s.base.Applied != meta.Applied || s.base.ConfigurationIndex != meta.ConfigurationIndex:
		return nil, fmt.Errorf("the content is that of %v with the configuration of %d, and not of %d", s.base.Applied,
			s.base.ConfigurationIndex, meta.ConfigurationIndex)
	case own != [16]byte{} && s.cluster != own:
		return nil, fmt.Errorf("the content is of cluster %x, and this is cluster %x", s.cluster, own)
	}
	return &s, nil
}

// use goes over to a generation that is complete and in use for the next Open: nothing takes it back. The next Apply opens
// its writer.
func (e *Engine) use(next generation, installed *state) {
	old := e.generation.Swap(&next)
	if e.writer != nil {
		e.abandon()
	}
	e.chains.Lock()
	e.history = chainHistory{}
	e.chains.Unlock()
	e.publish(installed, nil)
	e.quarantined.Store(nil)
	e.readers.renew()
	for _, leave := range []func() error{e.checkpointer.abandon, e.classifier.abandon, next.removeOthers} {
		if err := leave(); err != nil {
			e.log.Warn("leaving the generation of the database that a snapshot has replaced", "file", old.file(), "err", err)
		}
	}
}
