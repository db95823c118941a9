package db

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/quorum"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/transport/identity"
)

// Copy is what the data directory of a node that does not run holds of its cluster.
type Copy struct {
	Dir     string
	Cluster identity.Cluster
	Epoch   identity.Epoch
	Node    raft.ID
	Name    string
	Address string
	// Last is the newest entry that this copy has, committed or not, and Applied the newest that its database has
	// executed. The log begins after Base.
	Base, Last, Applied raft.EntryID
	HardState           raft.HardState
	// Configuration is the newest that this copy has, which need not be committed.
	Configuration raft.ConfigurationAt
	// Members are the members as of Applied.
	Members []Member
	// HasKey says that the authority's key is there, without which no node can join.
	HasKey bool
	// Quarantined is why the database was set apart from the others; nil if it was not.
	Quarantined error
	// Begun says that a recovery of this copy was decided and not finished: the next start, or Recover, finishes it.
	Begun bool
	// Unusable is why the cluster cannot be recovered from this copy as it is; nil if it can.
	Unusable error

	self nodeFile
	base raft.Base
	// generation is that of the database.
	generation string
	// log and hard are as they stand in the files.
	log  raft.Log
	hard raft.HardState
}

// Survey reads what the data directory of a node that does not run holds, and changes nothing of it. ErrInUse says that it
// runs.
func Survey(path string) (c Copy, err error) {
	d, self, err := openStopped(path)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	return survey(d, self, wal.OS())
}

func survey(d *directory, self nodeFile, files wal.Files) (c Copy, err error) {
	c = Copy{Dir: d.path, Epoch: self.Epoch, Node: self.Node, Name: self.Name, Address: self.Address,
		Begun: self.Recovery != nil, self: self}
	if c.Cluster, err = self.cluster(); err != nil {
		return c, err
	}
	id, err := identity.Load(d.file("tls"))
	if err != nil {
		return c, fmt.Errorf("loading the node's certificate: %w", err)
	}
	authority, err := id.LoadAuthority(d.file("tls"))
	if err != nil {
		return c, fmt.Errorf("loading the authority's key: %w", err)
	}
	c.HasKey = authority != nil
	i, err := wal.Inspect(files, d.file("wal"))
	if err != nil {
		return c, err
	}
	if i.Node != 0 && (i.Node != self.Node || i.Cluster != c.Cluster) {
		return c, fmt.Errorf("the log in %s is node %d's of cluster %x, and node.json says node %d of cluster %x",
			d.path, i.Node, i.Cluster, self.Node, c.Cluster)
	}
	if err := c.readDatabase(d); err != nil {
		return c, err
	}
	if q, found := d.quarantine(); found && q.about(c.generation) {
		c.Quarantined = q
	}
	c.readLog(&i)
	return c, nil
}

// readDatabase reads how far the database came and what it says of the members.
func (c *Copy) readDatabase(d *directory) (err error) {
	if _, err := os.Stat(d.file("db")); errors.Is(err, fs.ErrNotExist) {
		return nil // nothing was applied yet, and nothing is made here
	}
	e, err := engine.Open(engine.Config{Dir: d.file("db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	// What follows may let the log begin after what the database holds.
	if c.base, err = e.Durable(); err != nil {
		return err
	}
	c.generation = generationOf(e)
	for _, m := range e.Members() {
		c.Members = append(c.Members, Member{m.ID, m.Name, m.Address, m.Learner})
		if m.ID == c.Node {
			c.Name, c.Address = m.Name, m.Address
		}
	}
	return nil
}

// readLog takes over what the log says, as a start would: a log that does not lead on from the database begins after it.
func (c *Copy) readLog(i *wal.Inspection) {
	c.Applied, c.HardState, c.Configuration = c.base.Applied, i.HardState, i.Configuration
	if c.base.ConfigurationIndex > c.Configuration.Index {
		c.Configuration = raft.ConfigurationAt{Index: c.base.ConfigurationIndex, Configuration: c.base.Configuration}
	}
	if i.Damage != nil || len(i.Parts) != 1 {
		c.Unusable = fmt.Errorf("its log is damaged: `rsqld inspect %s` says where, and with --accept-loss "+
			"lets it begin again with what is left", c.Dir)
		return
	}
	p := i.Parts[0]
	c.log = raft.Log{Base: p.Base, Last: p.Last, Runs: p.Terms}
	c.Base, c.Last, c.hard = p.Base, p.Last, i.HardState
	if w := replica.Rebase(c.base, c.HardState, c.log); w != nil {
		c.HardState, c.Base, c.Last = w.HardState, c.base.Applied, c.base.Applied
		c.Configuration = raft.ConfigurationAt{Index: c.base.ConfigurationIndex, Configuration: c.base.Configuration}
	}
	switch {
	case c.base.Applied.Index < p.Base.Index:
		c.Unusable = fmt.Errorf("its database has applied %d entries and its log begins after entry %d: what is between is lost",
			c.base.Applied.Index, p.Base.Index)
	case c.Configuration.Configuration.Empty() || c.Last.Index < raft.Index(c.Node):
		c.Unusable = fmt.Errorf("node %d joined and had received nothing yet", c.Node)
	case c.HardState.Acked.Compare(c.Last) > 0:
		c.Unusable = fmt.Errorf("its log was damaged, and entries up to %d that it acknowledged are missing: "+
			"`rsqld inspect --accept-loss %s` gives them up",
			c.HardState.Acked.Index, c.Dir)
	}
}

// Part is what the node is by the newest configuration that it has: voter, learner or removed.
func (c *Copy) Part() string {
	switch configuration := c.Configuration.Configuration; {
	case configuration.Voter(c.Node):
		return "voter"
	case configuration.Learner(c.Node):
		return "learner"
	}
	return "removed"
}

// MostAdvanced chooses the copy to recover from among several of one cluster and says why. It compares them as voters
// compare candidates (paper §5.4.1): what was acknowledged to clients and is in one of the copies is in the chosen one if
// the copies are of a majority of the voters, and else as likely as can be.
func MostAdvanced(copies []Copy) (best int, why string, err error) {
	if len(copies) == 0 {
		return 0, "", errors.New("there is no copy to choose from")
	}
	if err := alike(copies); err != nil {
		return 0, "", err
	}
	order := make([]int, len(copies))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return copies[b].compare(&copies[a]) })
	best = order[0]
	c := &copies[best]
	if c.Unusable != nil {
		return best, "", fmt.Errorf("none of the copies can be recovered from; %s: %w", c.Dir, c.Unusable)
	}
	if len(copies) == 1 {
		return best, fmt.Sprintf("it is the only copy given, up to entry %d of term %d", c.Last.Index, c.Last.Term), nil
	}
	return best, c.whyBefore(&copies[order[1]]), nil
}

// alike refuses copies that no choice can be made among.
func alike(copies []Copy) error {
	for i, c := range copies {
		for _, other := range copies[:i] {
			switch {
			case c.Cluster != other.Cluster:
				return fmt.Errorf("%s is of cluster %x and %s of cluster %x", c.Dir, c.Cluster, other.Dir, other.Cluster)
			case c.Epoch.Number == other.Epoch.Number && c.Epoch != other.Epoch:
				return fmt.Errorf("%s and %s were recovered apart (epochs %v and %v): "+
					"they are two clusters, of which you keep one; name its directories only",
					other.Dir, c.Dir, other.Epoch, c.Epoch)
			case c.Node == other.Node:
				return fmt.Errorf("%s and %s are both node %d's: give the newer one of the two only", other.Dir, c.Dir, c.Node)
			}
		}
	}
	return nil
}

// compare orders copies from the worse to the better one.
func (c *Copy) compare(other *Copy) int {
	return cmp.Or(
		truth(c.Unusable == nil, other.Unusable == nil),
		cmp.Compare(c.Epoch.Number, other.Epoch.Number),
		truth(c.Quarantined == nil, other.Quarantined == nil),
		c.Last.Compare(other.Last),
		truth(c.HasKey, other.HasKey),
		truth(c.Part() == "voter", other.Part() == "voter"),
		c.Applied.Compare(other.Applied),
		cmp.Compare(other.Node, c.Node),
	)
}

func truth(a, b bool) int {
	number := map[bool]int{true: 1}
	return number[a] - number[b]
}

// whyBefore says why c comes before other, which compare puts after it.
func (c *Copy) whyBefore(other *Copy) string {
	switch {
	case other.Unusable != nil:
		return fmt.Sprintf("it is the only one that can be recovered from; %s: %v", other.Dir, other.Unusable)
	case c.Epoch.Number > other.Epoch.Number:
		return fmt.Sprintf("it is of epoch %v, and %s is of before that recovery (epoch %v)", c.Epoch, other.Dir, other.Epoch)
	case c.Quarantined == nil && other.Quarantined != nil:
		return fmt.Sprintf("%s was found to differ from the others", other.Dir)
	case c.Last.Term > other.Last.Term:
		return fmt.Sprintf("its newest entry %d is of term %d, and that of %s of term %d",
			c.Last.Index, c.Last.Term, other.Dir, other.Last.Term)
	case c.Last.Index > other.Last.Index:
		return fmt.Sprintf("it goes up to entry %d and %s, in the same term, to %d", c.Last.Index, other.Dir, other.Last.Index)
	}
	return fmt.Sprintf("it goes up to entry %d of term %d, as %s does: either would do", c.Last.Index, c.Last.Term, other.Dir)
}

// Reach says how many of the voters of best's configuration the copies are of, and whether they are a majority: then they
// hold everything that was acknowledged, and would elect a leader if they were started.
func Reach(best Copy, copies []Copy) (present, voters int, majority bool) {
	has := make(map[raft.ID]bool)
	for _, c := range copies {
		if c.Unusable == nil && c.Epoch == best.Epoch {
			has[c.Node] = true
		}
	}
	configuration := best.Configuration.Configuration
	all := slices.Concat(configuration.Voters, configuration.Outgoing)
	slices.Sort(all)
	for _, id := range slices.Compact(all) {
		voters++
		if has[id] {
			present++
		}
	}
	groups := quorum.Joint[raft.ID]{Incoming: configuration.Voters, Outgoing: configuration.Outgoing}
	tally := groups.Tally(func(id raft.ID) quorum.Answer {
		if has[id] {
			return quorum.Granted
		}
		return quorum.Refused
	})
	return present, voters, tally == quorum.Won
}

// Lost names the members of the copy that a recovery leaves behind: all but its own node.
func (c *Copy) Lost() string {
	var lost []string
	for _, id := range c.Configuration.Configuration.Members() {
		if id == c.Node {
			continue
		}
		name := fmt.Sprintf("node %d", id)
		for _, m := range c.Members {
			if m.ID == id {
				name = fmt.Sprintf("%s (%s, %s)", name, m.Name, m.Address)
			}
		}
		lost = append(lost, name)
	}
	return strings.Join(lost, ", ")
}
