package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft/quorum"
)

// MaxMembers is how many members a cluster may have, and MaxRemoved how many removed ones are remembered. The log keeps a
// configuration in places of fixed size, and all of it must fit.
const (
	MaxMembers = 64
	MaxRemoved = 64
)

// Configuration says who votes and who only learns. It is a value: no function changes one in place. All lists
// are sorted and free of doubles; no id is in two of Voters, Learners and Removed.
//
// A joint configuration (§4.3) has Outgoing voters as well: then every quorum is one of Voters and one of
// Outgoing. LearnersNext are voters of Outgoing that become learners when the joint configuration is left.
type Configuration struct {
	Voters       []ID
	Outgoing     []ID
	Learners     []ID
	LearnersNext []ID
	// Removed were members and are none, for ever: an id belongs to a disk, whose votes and acknowledgements in former
	// configurations must not count as another's. It travels with the configuration, because the log that shows the
	// removal is compacted; beyond MaxRemoved the lowest ids are forgotten, as ids are given out rising.
	Removed []ID
}

// Joint reports whether two majorities are needed.
func (c Configuration) Joint() bool { return len(c.Outgoing) > 0 }

// Voter reports whether id counts in a quorum.
func (c Configuration) Voter(id ID) bool {
	return contains(c.Voters, id) || contains(c.Outgoing, id)
}

// Learner reports whether id receives the log without voting.
func (c Configuration) Learner(id ID) bool { return contains(c.Learners, id) }

// Member reports whether id receives the log.
func (c Configuration) Member(id ID) bool { return c.Voter(id) || c.Learner(id) }

// Members returns all ids, sorted.
func (c Configuration) Members() []ID {
	return changed(c.voters(), c.Learners, nil)
}

// Empty reports whether nobody is a member: the state of a node that has joined and received nothing yet.
func (c Configuration) Empty() bool { return len(c.Voters) == 0 && len(c.Learners) == 0 }

func (c Configuration) String() string {
	text := fmt.Sprintf("voters=%v", c.Voters)
	for _, more := range []struct {
		name string
		ids  []ID
	}{{"outgoing", c.Outgoing}, {"learners", c.Learners}, {"learners_next", c.LearnersNext}} {
		if len(more.ids) > 0 {
			text += fmt.Sprintf(" %s=%v", more.name, more.ids)
		}
	}
	return text
}

// Recovered returns the configuration of a cluster that goes on with one node alone after the loss of all others, which
// are members no more. It follows no quorum's decision: whoever uses it sees to it that the others are never heard again.
func (c Configuration) Recovered(survivor ID) Configuration {
	removed := changed(c.Removed, slices.Concat(c.Members(), c.LearnersNext), []ID{survivor})
	return Configuration{Voters: []ID{survivor}, Removed: removed[max(0, len(removed)-MaxRemoved):]}
}

// configurationFormat is the first byte of an encoded Configuration.
const configurationFormat = 2

// ErrConfiguration is the cause of every failure to decode a Configuration.
var ErrConfiguration = errors.New("not a configuration")

// AppendBinary appends the encoding that an EntryConfiguration holds: a format byte, then the five lists, each a
// uvarint count and uvarint ids in rising order.
func (c Configuration) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, configurationFormat)
	for _, list := range [][]ID{c.Voters, c.Outgoing, c.Learners, c.LearnersNext, c.Removed} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, id := range list {
			b = binary.AppendUvarint(b, uint64(id))
		}
	}
	return b, nil
}

// DecodeConfiguration reads what AppendBinary wrote. Every failure wraps ErrConfiguration.
func DecodeConfiguration(b []byte) (Configuration, error) {
	if len(b) == 0 || b[0] != configurationFormat {
		return Configuration{}, fmt.Errorf("%w: format byte is not %d", ErrConfiguration, configurationFormat)
	}
	b = b[1:]
	var c Configuration
	for _, list := range []*[]ID{&c.Voters, &c.Outgoing, &c.Learners, &c.LearnersNext, &c.Removed} {
		var err error
		if *list, b, err = decodeIDs(b); err != nil {
			return Configuration{}, err
		}
	}
	if len(b) > 0 {
		return Configuration{}, fmt.Errorf("%w: %d bytes too many", ErrConfiguration, len(b))
	}
	return c, nil
}

func decodeIDs(b []byte) (ids []ID, rest []byte, err error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: bad count", ErrConfiguration)
	}
	b = b[n:]
	for range count {
		id, n := binary.Uvarint(b)
		if n <= 0 || id == 0 || (len(ids) > 0 && ID(id) <= ids[len(ids)-1]) {
			return nil, nil, fmt.Errorf("%w: bad or unsorted id", ErrConfiguration)
		}
		ids, b = append(ids, ID(id)), b[n:]
	}
	return ids, b, nil
}

func contains(sorted []ID, id ID) bool {
	_, found := slices.BinarySearch(sorted, id)
	return found
}

// validate reports why c cannot be the configuration of a running cluster.
func (c Configuration) validate() error {
	if len(c.Voters) == 0 {
		return fmt.Errorf("%w: no voters", ErrConfiguration)
	}
	if members := c.Members(); len(members) > MaxMembers || len(c.Removed) > MaxRemoved {
		return fmt.Errorf("%w: %d members and %d removed, the most is %d and %d",
			ErrConfiguration, len(members), len(c.Removed), MaxMembers, MaxRemoved)
	}
	for _, list := range [][]ID{c.Voters, c.Outgoing, c.Learners, c.LearnersNext, c.Removed} {
		for i, id := range list {
			if id == 0 || i > 0 && id <= list[i-1] {
				return fmt.Errorf("%w: ids %v are not rising from 1", ErrConfiguration, list)
			}
		}
	}
	for _, id := range c.LearnersNext {
		if !contains(c.Outgoing, id) || contains(c.Voters, id) {
			return fmt.Errorf("%w: %d is to become a learner and does not leave the voters", ErrConfiguration, id)
		}
	}
	parts := slices.Concat(c.voters(), c.Learners, c.Removed)
	if len(changed(parts, nil, nil)) < len(parts) {
		return fmt.Errorf("%w: of %s and the removed %v one has two parts", ErrConfiguration, c, c.Removed)
	}
	return nil
}

// quorum returns the groups of voters of which each must agree.
func (c *Configuration) quorum() quorum.Joint[ID] {
	return quorum.Joint[ID]{Incoming: c.Voters, Outgoing: c.Outgoing}
}

// voters returns all ids whose votes count, each once.
func (c *Configuration) voters() []ID {
	return changed(c.Voters, c.Outgoing, nil)
}
