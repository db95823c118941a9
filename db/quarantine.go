package db

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

// quarantineName is the file that says that this node's database is quarantined, so that a restart does not forget it.
const quarantineName = "quarantine"

// quarantine is why a node's database is not to be used, and what its file holds.
type quarantine struct {
	Index raft.Index `json:"index"`
	// Mine and Others are the chains at Index, that of this node and that of the majority; without Others there is none.
	Mine   string `json:"mine"`
	Others string `json:"others"`
	// Sound are the voters that had Others: they alone may say what this node should hold.
	Sound []raft.ID `json:"sound,omitempty"`
	// Generation is that of the database that this is about: another one is not quarantined. Empty: whatever there is.
	Generation string `json:"generation,omitempty"`
	// unread is why the file could not be read, if it could not: nothing else is known then.
	unread error
}

// parseQuarantine reads what the file holds.
func parseQuarantine(text []byte) (q quarantine, err error) {
	if err := json.Unmarshal(text, &q); err != nil {
		return quarantine{}, err
	}
	if q.Index == 0 || q.Mine == "" {
		return quarantine{}, errors.New("it names no index or no chain")
	}
	return q, nil
}

func (q quarantine) Error() string {
	if q.unread != nil {
		return fmt.Sprintf("the file %q, which should say why, cannot be read: %v", quarantineName, q.unread)
	}
	if q.Others == "" {
		return fmt.Sprintf("at index %d its result chain is %s, and no chain is that of a majority of the voters: "+
			"nobody can say which node is right", q.Index, q.Mine)
	}
	return fmt.Sprintf("at index %d its result chain is %s, and that of a majority of the voters is %s",
		q.Index, q.Mine, q.Others)
}

func hexChain(hash uint64) string { return fmt.Sprintf("%016x", hash) }

// donors are those of the voters who may replace the quarantined database: the sound ones, or all voters if no sound one is
// left or nobody remembers who they were, for those that are not sound find out about themselves and give nothing. Where
// nobody can say who is right, nobody may.
func (q quarantine) donors(voters []raft.ID) []raft.ID {
	if q.unread == nil && q.Others == "" {
		return nil
	}
	sound := slices.DeleteFunc(slices.Clone(voters), func(id raft.ID) bool { return !slices.Contains(q.Sound, id) })
	if len(sound) == 0 {
		return slices.Clone(voters)
	}
	return sound
}

// quarantineNote keeps the file in step with the engine: what one of them is told, the other is told before anybody else
// looks. Else the end of one quarantine would take the note of the next one with it.
type quarantineNote struct {
	mu sync.Mutex // held while both change
	// written says that the file is there, or may be.
	written bool
}

// recallQuarantine stops the database at the start of a node that was quarantined when it ended. A file that cannot be read
// does so too, and not the start: it was there because the database is not to be used, and another one is to be had.
func (n *Node) recallQuarantine() {
	q, found := n.dir.quarantine()
	if !found {
		return
	}
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	n.noted.written = true
	if !q.about(n.generation()) {
		// The node ended after a snapshot had replaced the database, and before that was noted.
		n.log.Info("the quarantine was that of a database that a snapshot has replaced", "node", n.self.Node, "err", q)
		n.removeNote()
		return
	}
	n.engine.Quarantine(engine.Chain{}, q)
	keys := []any{"node", n.self.Node, "err", q}
	if q.unread != nil {
		keys = append(keys, "hint", "the voters are asked for a snapshot; "+
			"if this node holds the only copy that is right, stop it and remove the file")
	}
	n.log.Error("this node is quarantined: it serves nothing until a snapshot has replaced its database", keys...)
}

// about reports whether it is a database of this generation that is quarantined.
func (q quarantine) about(generation string) bool {
	return q.Generation == "" || q.Generation == generation
}

// generation names the database file in use: a snapshot brings another one.
func (n *Node) generation() string { return generationOf(n.engine) }

func generationOf(e *engine.Engine) string { return filepath.Base(e.Path()) }

// quarantine reads the file that says why the database is quarantined, if there is one.
func (d *directory) quarantine() (q quarantine, found bool) {
	text, err := os.ReadFile(d.file(quarantineName))
	if errors.Is(err, fs.ErrNotExist) {
		return q, false
	}
	if err == nil {
		q, err = parseQuarantine(text)
	}
	q.unread = err
	return q, true
}

// quarantine stops this node's database, durably, because of the chain that was found in it.
func (n *Node) quarantine(found engine.Chain, q quarantine) {
	if !n.noteQuarantine(found, q) {
		return
	}
	n.updateFitness()
}

// noteQuarantine reports false if the database was replaced since the chain was found in it: then it is another one.
func (n *Node) noteQuarantine(found engine.Chain, q quarantine) bool {
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	q.Generation = n.generation()
	if !n.engine.Quarantine(found, q) {
		return false
	}
	n.log.Error("this node has diverged: it serves nothing until a snapshot has replaced its database",
		"node", n.self.Node, "err", q)
	text, err := json.Marshal(q)
	if err == nil {
		n.noted.written = true
		err = n.dir.replace(quarantineName, append(text, '\n'))
	}
	if err != nil {
		n.log.Error("cannot note that this node is quarantined: it will find out again after a restart",
			"node", n.self.Node, "err", err)
	}
	return true
}

// released takes note that a snapshot has ended the quarantine, if one has.
func (n *Node) released() {
	if n.forgetQuarantine() {
		n.updateFitness()
	}
}

// forgetQuarantine removes the note of a quarantine that has ended, and reports whether one had.
func (n *Node) forgetQuarantine() bool {
	n.noted.mu.Lock()
	defer n.noted.mu.Unlock()
	if !n.noted.written || n.engine.Quarantined() != nil {
		return false
	}
	n.removeNote()
	n.log.Info("this node's database was replaced: it is quarantined no more", "node", n.self.Node)
	return true
}

// removeNote needs n.noted.mu.
func (n *Node) removeNote() {
	n.noted.written = false
	err := os.Remove(n.dir.file(quarantineName))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = syncDirectory(n.dir.path)
	}
	if err != nil {
		n.log.Warn("cannot remove the note that this node was quarantined: remove the file",
			"node", n.self.Node, "file", n.dir.file(quarantineName), "err", err)
	}
}

// refuseQuarantined is the answer to every request while this node's database is quarantined: another node may be asked.
func (n *Node) refuseQuarantined() *Error {
	why := n.engine.Quarantined()
	if why == nil {
		return nil
	}
	return quarantinedError(why)
}

func quarantinedError(why error) *Error {
	e := shuttingDown()
	e.Message = fmt.Sprintf("%v; ask another node", why)
	return e
}
