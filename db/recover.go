package db

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/transport/identity"
)

// A cluster that has lost its quorum for good goes on from one copy: its node becomes the only voter, by two entries behind
// all that its log holds. Entries that were not committed stay: some of them may have been acknowledged by a majority that
// is gone, and nobody can tell which. Nothing that the node acknowledged is lost; a write whose client heard nothing may
// have happened, as ever.
//
// The order of writes: node.json gets the new epoch and what is to be written to the log, in one rename. That is the
// decision. Before it nothing has happened; after it, every start and every Recover first finishes: the two entries go into
// the log as one record, unless they are there, and then node.json forgets what was to be done. So the log never has one
// voter while its node is of the old epoch, in which members of the old configuration would be heard.

// recovery, in node.json, is a recovery that was decided and may not be in the log yet.
type recovery struct {
	// Last is the newest entry before the record, Term that of its entries.
	Last raft.EntryID `json:"last"`
	Term raft.Term    `json:"term"`
}

// recoveryEntries is how many entries a recovery appends: the configuration and the command.
const recoveryEntries = 2

// Recovered says what Recover did.
type Recovered struct {
	// Epoch is the cluster's from now on, Node its only member.
	Epoch identity.Epoch
	Node  raft.ID
	// Kept is the newest entry that was there before: all up to it are kept.
	Kept raft.Index
	// Credential is the path of an administrator's credential that was written because the directory had none; empty if it
	// had one, or has not got the authority's key to sign one with.
	Credential string
}

// Recover makes the copy of a node that does not run the whole cluster, after the others are lost: at its next start it
// leads alone, in a new epoch, with all entries that it holds. Those that were members before are refused from then on.
// A crash leaves the old state, or one that the next start completes. ErrInUse says that the node runs. It is refused if
// the copy has changed since it was surveyed, or is unusable.
//
// There must be no majority of the old members that still runs: they would go on as the cluster that they are, apart.
func Recover(c Copy) (done Recovered, err error) {
	d, self, err := openStopped(c.Dir)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	files := wal.OS()
	if self, err = finishRecovery(d, self, files); err != nil {
		return done, err
	}
	current, err := survey(d, self, files)
	switch {
	case err != nil:
		return done, err
	case current.Unusable != nil:
		return done, fmt.Errorf("%s: %w", c.Dir, current.Unusable)
	case c.Begun: // and finished by now
		return d.recovered(current, current.Last.Index-recoveryEntries)
	case current.Node != c.Node || current.Last != c.Last || current.Epoch != c.Epoch:
		return done, fmt.Errorf("%s has changed since it was looked at: its newest entry was %v and is %v", c.Dir, c.Last, current.Last)
	}
	self = decideRecovery(self, &current)
	if err := d.commit(self); err != nil {
		return done, err
	}
	if self, err = finishRecovery(d, self, files); err != nil {
		return done, fmt.Errorf("%w; the recovery is decided, and is finished by the next start or by doing this again", err)
	}
	current.Epoch = self.Epoch
	return d.recovered(current, c.Last.Index)
}

// decideRecovery returns the node.json with which a recovery of the copy is decided.
func decideRecovery(self nodeFile, c *Copy) nodeFile {
	self.Epoch = self.Epoch.Next()
	self.Learner = false
	self.Name, self.Address = c.Name, c.Address
	self.Members = nil
	self.Recovery = &recovery{Last: c.Last, Term: max(c.HardState.Term, c.Last.Term) + 1}
	return self
}

// recovered writes what the administrator of the recovered cluster needs and may have lost with the founder.
func (d *directory) recovered(c Copy, kept raft.Index) (Recovered, error) {
	done := Recovered{Epoch: c.Epoch, Node: c.Node, Kept: kept}
	credential := d.file("admin.pem")
	if _, err := os.Stat(credential); !errors.Is(err, fs.ErrNotExist) || !c.HasKey {
		return done, nil
	}
	id, err := identity.Load(d.file("tls"))
	if err != nil {
		return done, fmt.Errorf("loading the node's certificate: %w", err)
	}
	authority, err := id.LoadAuthority(d.file("tls"))
	if err != nil {
		return done, fmt.Errorf("loading the authority's key: %w", err)
	}
	made, err := authority.NewCredential("admin", identity.RoleAdmin)
	if err != nil {
		return done, fmt.Errorf("making the administrator's credential: %w", err)
	}
	if err := identity.WriteSecret(credential, made.PEM()); err != nil {
		return done, fmt.Errorf("writing the administrator's credential: %w", err)
	}
	done.Credential = credential
	return done, nil
}

// finishRecovery finishes a recovery that was decided, and returns what node.json says then. It may be repeated.
func finishRecovery(d *directory, self nodeFile, files wal.Files) (nodeFile, error) {
	if self.Recovery == nil {
		return self, nil
	}
	fail := func(err error) (nodeFile, error) {
		return self, fmt.Errorf("finishing the recovery of node %d (epoch %v): %w", self.Node, self.Epoch, err)
	}
	c, err := survey(d, self, files)
	if err != nil {
		return fail(err)
	}
	record, err := recoveryRecord(d, &c)
	if err != nil {
		return fail(err)
	}
	end := raft.EntryID{Term: self.Recovery.Term, Index: self.Recovery.Last.Index + recoveryEntries}
	switch {
	case c.Unusable != nil:
		return fail(c.Unusable)
	case c.Last == self.Recovery.Last:
		if err := appendRecovery(d, &c, files, record); err != nil {
			return fail(err)
		}
	case c.Last != end: // else it is there
		return fail(fmt.Errorf("its log ended at %v when that was decided, and ends at %v", self.Recovery.Last, c.Last))
	}
	// What this database differed from is gone.
	if err := os.Remove(d.file(quarantineName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	self.Recovery = nil
	if err := d.commit(self); err != nil {
		return fail(err)
	}
	return self, nil
}

// recoveryRecord is what makes the node of a copy the only member.
func recoveryRecord(d *directory, c *Copy) (*raft.Write, error) {
	id, err := identity.Load(d.file("tls"))
	if err != nil {
		return nil, fmt.Errorf("loading the node's certificate: %w", err)
	}
	configuration, err := c.Configuration.Configuration.Recovered(c.Node).AppendBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	data, err := command.Encode(&commandpb.Command{
		Version: command.Version, Time: time.Now().UnixNano(),
		Body: &commandpb.Command_Recover{Recover: &commandpb.Recover{Epoch: c.Epoch.String(), Survivor: &commandpb.Member{
			Id: uint64(c.Node), Name: c.self.Name, Address: c.self.Address, PublicKey: id.PublicKey()}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the recovery entry: %w", err)
	}
	last, term := c.self.Recovery.Last, c.self.Recovery.Term
	return &raft.Write{
		Seq: 1, HardState: raft.HardState{Term: term, Vote: c.Node},
		Entries: []raft.Entry{
			{ID: raft.EntryID{Term: term, Index: last.Index + 1}, Kind: raft.EntryConfiguration, Data: configuration},
			{ID: raft.EntryID{Term: term, Index: last.Index + recoveryEntries}, Kind: raft.EntryCommand, Data: data},
		},
	}, nil
}

// appendRecovery makes the record durable at the end of the log.
func appendRecovery(d *directory, c *Copy, files wal.Files, record *raft.Write) error {
	log, _, err := wal.Open(wal.Options{Files: files, Dir: d.file("wal"), Cluster: c.Cluster, Node: c.Node, Seed: rand.Uint64()})
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	if rebase := replica.Rebase(c.base, c.hard, c.log); rebase != nil {
		err = log.Append(rebase)
	}
	if err == nil {
		err = log.Append(record)
	}
	if err == nil {
		err = log.Mark()
	}
	if err = errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("writing the log: %w", err)
	}
	return nil
}
