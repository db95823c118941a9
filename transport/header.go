package transport

import (
	"bytes"
	"fmt"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// peerVersion is the version of the peer protocol that this package speaks.
const peerVersion = 1

// header returns what this node begins a stream to a peer with.
func (e *Endpoint) header(to raft.ID, kind peerpb.StreamHeader_Kind) *peerpb.StreamHeader {
	return &peerpb.StreamHeader{
		Version: peerVersion, Cluster: e.cluster[:], From: uint64(e.self), To: uint64(to),
		Incarnation: e.config.Incarnation, Fingerprint: e.config.Fingerprint, Kind: kind,
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
	return nil
}
