package transport

import (
	"bytes"
	"fmt"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// peerVersion is the version of the peer protocol that this package speaks.
const peerVersion = 1

// header returns what this node begins a stream to a peer with.
func (e *Endpoint) header(to raft.ID, kind peerpb.StreamHeader_Kind) *peerpb.StreamHeader {
	return &peerpb.StreamHeader{
		Version: peerVersion, Cluster: e.cluster[:], From: uint64(e.self), To: uint64(to),
		Incarnation: e.config.Incarnation, Fingerprint: e.config.Fingerprint, Kind: kind,
		Epoch: e.config.Epoch.String(),
	}
}

// mismatch is a difference between two nodes because of which they must not talk.
type mismatch struct{ text string }

func (m *mismatch) Error() string { return m.text }

// checkHeader compares a header with the connection that it came on. The sender is who its certificate says. A zero
// incarnation fits any: the connection has just begun.
func (e *Endpoint) checkHeader(h *peerpb.StreamHeader, from raft.ID, incarnation uint64) error {
	fail := func(format string, args ...any) error { return &mismatch{fmt.Sprintf(format, args...)} }
	switch {
	case h.Version > peerVersion:
		return fail("node %d speaks version %d of the peer protocol and node %d version %d: upgrade node %d",
			from, h.Version, e.self, peerVersion, e.self)
	case h.Version == 0:
		return fail("node %d names no version of the peer protocol", from)
	case !bytes.Equal(h.Cluster, e.cluster[:]):
		return fail("node %d is of cluster %x, and this is cluster %x", from, h.Cluster, e.cluster)
	case raft.ID(h.From) != from:
		return fail("node %d calls itself node %d", from, h.From)
	case raft.ID(h.To) != e.self:
		return fail("node %d wants node %d and reached node %d: its address is wrong", from, h.To, e.self)
	case h.Incarnation == 0 || incarnation != 0 && h.Incarnation != incarnation:
		return fail("node %d changed its incarnation on one connection", from)
	case !bytes.Equal(h.Fingerprint, e.config.Fingerprint):
		return fail("node %d computes with another version of rsqld or SQLite than node %d (fingerprint %.8x, here %.8x): run the same version on both",
			from, e.self, h.Fingerprint, e.config.Fingerprint)
	}
	return e.checkEpoch(h.Epoch, from)
}

// checkEpoch compares the epochs of two nodes of one cluster. Which of them is to go is clear if one was left behind by a
// recovery; both say the same, so that the log of either tells its reader.
func (e *Endpoint) checkEpoch(text string, from raft.ID) error {
	theirs, err := identity.ParseEpoch(text)
	if err != nil {
		return &mismatch{fmt.Sprintf("node %d names an epoch that this version does not know: %v", from, err)}
	}
	left, kept := from, theirs
	switch mine := e.config.Epoch; {
	case theirs == mine:
		return nil
	case theirs.Number == mine.Number:
		return &mismatch{fmt.Sprintf("the cluster was recovered twice, apart: node %d is of epoch %v and node %d of epoch %v; "+
			"keep one of the two, and of the other delete the data directories and join as new nodes", from, theirs, e.self, mine)}
	case theirs.Number < mine.Number:
		kept = mine
	default:
		left = e.self
	}
	return &mismatch{fmt.Sprintf("node %d was left behind when the cluster was recovered without it (epoch %v): "+
		"to bring it back, stop it, delete its data directory and join as a new node", left, kept)}
}
