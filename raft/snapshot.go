package raft

import "io"

// SnapshotMeta says what a snapshot stands for.
type SnapshotMeta struct {
	// Base is the newest entry whose effect the content holds, and the configuration as of there.
	Base
	// Size is the length of the content in bytes.
	Size int64
}

// SnapshotReader is the content of a state machine at one moment. It does not change while the machine goes on. The
// caller closes it.
type SnapshotReader interface {
	io.ReaderAt
	io.Closer
	Meta() SnapshotMeta
}

// Snapshotter is a Machine whose content can be handed to a peer that lags behind the beginning of the log.
type Snapshotter interface {
	Machine
	// Snapshot returns the content as it is now. It may be called beside Apply, by any goroutine.
	Snapshot() (SnapshotReader, error)
	// Restore replaces the content by that of a snapshot, durably when it returns: after a crash the machine holds the
	// old content or the new one, and Base says which. It is called in the place of an Apply.
	Restore(SnapshotMeta, io.ReaderAt) error
}
