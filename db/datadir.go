package db

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// directory is a node's data directory: who may use it, and who the node is.
//
//	node.json    written last when a node is made, by rename: a directory that has it is whole
//	node.json.new  there while a node is being made; with it and without node.json the rest is a torso
//	joining.key    the key of a node that is about to join; it outlives a torso
//	quarantine   why the database is not to be used, while it is not; replaced by rename
//	LOCK         flocked while a process uses the directory
type directory struct {
	path string
	lock *os.File
}

// nodeFormat is the newest format of node.json. What has no epoch is written in format 1, which older programs read too; to
// them a node of another epoch would be a member of the first.
const nodeFormat = 2

// nodeFile is the content of node.json. Ids never change; names and addresses are what they were when it was written,
// the replicated table of members is what counts.
type nodeFile struct {
	Format  int          `json:"format"`
	Cluster string       `json:"cluster"`
	Node    raft.ID      `json:"node"`
	Name    string       `json:"name"`
	Address string       `json:"address"`
	Learner bool         `json:"learner,omitempty"`
	Members []memberFile `json:"members,omitempty"`
	// Epoch is the cluster's; it is zero until the cluster is recovered.
	Epoch identity.Epoch `json:"epoch,omitzero"`
	// Recovery is one that was decided and is to be finished before anything else.
	Recovery *recovery `json:"recovery,omitempty"`
}

// memberFile is a member that a joining node was told of, so that it finds the cluster before its first entry.
type memberFile struct {
	Node    raft.ID `json:"node"`
	Name    string  `json:"name"`
	Address string  `json:"address"`
}

func (n nodeFile) cluster() (cluster [16]byte, err error) {
	b, err := hex.DecodeString(n.Cluster)
	if err != nil || len(b) != len(cluster) {
		return cluster, fmt.Errorf("cluster id %q is not 32 hexadecimal digits", n.Cluster)
	}
	return [16]byte(b), nil
}

// ErrInUse says that another process has the data directory open.
var ErrInUse = errors.New("data directory is in use by another rsqld")

// openDirectory makes the directory if need be and takes its lock, wrapping ErrInUse if another process has it.
func openDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory's lock: %w", err)
	}
	if err := lockFile(lock); err != nil {
		lock.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("%w: %s; stop it first, or choose another --data", ErrInUse, path)
		}
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	return &directory{path, lock}, nil
}

// Close gives the lock back.
func (d *directory) Close() error { return d.lock.Close() }

func (d *directory) file(elements ...string) string {
	return filepath.Join(append([]string{d.path}, elements...)...)
}

// load returns the node of the directory, or ok=false if there is none yet. A torso that a crash left behind is
// cleared away; anything else that is there without node.json is refused.
func (d *directory) load() (node nodeFile, ok bool, err error) {
	content, err := os.ReadFile(d.file("node.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return node, false, d.clearTorso()
	}
	if err != nil {
		return node, false, fmt.Errorf("reading node.json: %w", err)
	}
	if err := json.Unmarshal(content, &node); err != nil {
		return node, false, fmt.Errorf("reading %s: %w", d.file("node.json"), err)
	}
	if node.Format < 1 {
		return node, false, fmt.Errorf("%s names no format that it is written in: it is damaged", d.file("node.json"))
	}
	if node.Format > nodeFormat {
		return node, false, fmt.Errorf("%s has format %d, and this rsqld knows formats up to %d: use a newer rsqld",
			d.file("node.json"), node.Format, nodeFormat)
	}
	if _, err := node.cluster(); err != nil || node.Node == 0 {
		return node, false, fmt.Errorf("%s names no cluster and node", d.file("node.json"))
	}
	return node, true, d.forgetJoining()
}

func (d *directory) clearTorso() error {
	parts := []string{"wal", "db", "tls", "admin.pem", "join-token"}
	if _, err := os.Stat(d.file("node.json.new")); err == nil {
		for _, part := range append(parts, "node.json.new") {
			if err := os.RemoveAll(d.file(part)); err != nil {
				return fmt.Errorf("clearing what an interrupted first start left behind: %w", err)
			}
		}
		return nil
	}
	for _, part := range parts {
		if _, err := os.Lstat(d.file(part)); err == nil {
			return fmt.Errorf("%s holds %s but no node.json: it is not a whole data directory; restore node.json, or give an empty directory with --data",
				d.path, part)
		}
	}
	return nil
}

// joiningKey is the file of the key that a node joins with, until it has.
const joiningKey = "joining.key"

// forgetJoining removes that key, which a whole node has in its tls directory.
func (d *directory) forgetJoining() error {
	if err := os.Remove(d.file(joiningKey)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the key of a join that is done: %w", err)
	}
	return nil
}

// begin marks the directory as a node in the making; commit ends that.
func (d *directory) begin() error {
	if err := os.WriteFile(d.file("node.json.new"), nil, 0o600); err != nil {
		return fmt.Errorf("preparing the data directory: %w", err)
	}
	return syncDirectory(d.path)
}

// commit makes the directory whole: everything else in it must be durable by now.
func (d *directory) commit(node nodeFile) error {
	if node.Format = nodeFormat; node.Epoch == (identity.Epoch{}) {
		node.Format = 1
	}
	content, err := json.MarshalIndent(node, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding node.json: %w", err)
	}
	return d.replace("node.json", append(content, '\n'))
}

// replace writes a file of the directory: after a crash it holds what it held before, or the new content, durably.
func (d *directory) replace(name string, content []byte) error {
	if err := writeSynced(d.file(name+".new"), content); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(d.file(name+".new"), d.file(name)); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return syncDirectory(d.path)
}

func writeSynced(name string, content []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
