package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// ErrPeerMessage is the cause of the error for a message that breaks the rules of its type.
var ErrPeerMessage = errors.New("bad peer message")

// PeerEnvelope is a message with what the connection and the clock check need to know of it.
type PeerEnvelope struct {
	Cluster     [16]byte
	Incarnation uint64 // of the sender's process; never zero
	Clock       int64  // the sender's wall clock, Unix nanoseconds
	Message     raft.Message
}

// Clock is a message that says nothing but what every message says: what the sender's wall clock is. Peers that have
// nothing to tell each other send it, so that every node can compare its clock with those of all others. It has no body,
// and its term means nothing.
type Clock struct{ raft.Envelope }

// EncodePeer appends m as it is sent in a datagram: without a length. A message that [DecodePeer] would refuse is an
// error that wraps [ErrPeerMessage]; one above [MaxPeerFrame] is [ErrFrameTooLarge].
func EncodePeer(dst []byte, cluster [16]byte, incarnation uint64, clock int64, m raft.Message) ([]byte, error) {
	return appendPeer(dst, cluster, incarnation, clock, m, false)
}

// AppendPeerFrame is [EncodePeer] with the length before it that a stream needs.
func AppendPeerFrame(dst []byte, cluster [16]byte, incarnation uint64, clock int64, m raft.Message) ([]byte, error) {
	return appendPeer(dst, cluster, incarnation, clock, m, true)
}

func appendPeer(dst []byte, cluster [16]byte, incarnation uint64, clock int64, m raft.Message, framed bool) ([]byte, error) {
	if err := checkPeer(incarnation, m); err != nil {
		return dst, fmt.Errorf("encoding a %T: %w", m, err)
	}
	e := m.Header()
	p := &peerpb.PeerMessage{
		Cluster: cluster[:], From: uint64(e.From), To: uint64(e.To), Incarnation: incarnation,
		Term: uint64(e.Term), Clock: uint64(clock),
	}
	packBody(p, m)
	size := proto.Size(p)
	if size > MaxPeerFrame {
		return dst, fmt.Errorf("%w: a %T has %d bytes and may have %d", ErrFrameTooLarge, m, size, MaxPeerFrame)
	}
	out := dst
	if framed {
		out = binary.AppendUvarint(out, uint64(size))
	}
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(out, p)
	if err != nil {
		return dst, fmt.Errorf("encoding a %T: %w", m, err)
	}
	return out, nil
}

// DecodePeer reads what [EncodePeer] wrote. The message shares no memory with b. Every failure wraps [ErrFrame] (it is
// no message at all) or [ErrPeerMessage] (it breaks a rule).
func DecodePeer(b []byte) (PeerEnvelope, error) {
	if len(b) > MaxPeerFrame {
		return PeerEnvelope{}, fmt.Errorf("%w: a peer message of %d bytes, and %d are allowed", ErrFrameTooLarge, len(b), MaxPeerFrame)
	}
	var p peerpb.PeerMessage
	if err := unmarshal(b, &p); err != nil {
		return PeerEnvelope{}, err
	}
	envelope := PeerEnvelope{Incarnation: p.Incarnation, Clock: int64(p.Clock)}
	if copy(envelope.Cluster[:], p.Cluster) != len(p.Cluster) || len(p.Cluster) != len(envelope.Cluster) {
		return PeerEnvelope{}, fmt.Errorf("%w: a cluster id of %d bytes", ErrPeerMessage, len(p.Cluster))
	}
	m, err := unpackBody(&p)
	if err != nil {
		return PeerEnvelope{}, err
	}
	if err := checkPeer(p.Incarnation, m); err != nil {
		return PeerEnvelope{}, err
	}
	envelope.Message = m
	return envelope, nil
}

// packBody sets the body of p. Its type switch and unpackBody's have a case for each kind of message.
func packBody(p *peerpb.PeerMessage, m raft.Message) {
	switch m := m.(type) {
	case raft.Append:
		p.Body = &peerpb.PeerMessage_Append{Append: &peerpb.Append{
			Prev: packID(m.Prev), Entries: packEntries(m.Entries), Commit: uint64(m.Commit), Round: m.Round}}
	case raft.AppendAck:
		p.Body = &peerpb.PeerMessage_AppendAck{AppendAck: &peerpb.AppendAck{
			Match: uint64(m.Match), Rejected: m.Rejected, Prev: uint64(m.Prev), Hint: packID(m.Hint), Round: m.Round}}
	case raft.Heartbeat:
		p.Body = &peerpb.PeerMessage_Heartbeat{Heartbeat: &peerpb.Heartbeat{
			Commit: uint64(m.Commit), Round: m.Round, Silent: m.Silent}}
	case raft.HeartbeatAck:
		p.Body = &peerpb.PeerMessage_HeartbeatAck{HeartbeatAck: &peerpb.HeartbeatAck{Round: m.Round}}
	case raft.Vote:
		p.Body = &peerpb.PeerMessage_Vote{Vote: &peerpb.Vote{Last: packID(m.Last), Pre: m.Pre, Transfer: m.Transfer}}
	case raft.VoteAck:
		p.Body = &peerpb.PeerMessage_VoteAck{VoteAck: &peerpb.VoteAck{Pre: m.Pre, Granted: m.Granted}}
	case raft.TimeoutNow:
		p.Body = &peerpb.PeerMessage_TimeoutNow{TimeoutNow: &peerpb.TimeoutNow{Commit: uint64(m.Commit)}}
	case raft.ReadIndex:
		p.Body = &peerpb.PeerMessage_ReadIndex{ReadIndex: &peerpb.ReadIndex{Seq: m.Seq}}
	case raft.ReadIndexAck:
		p.Body = &peerpb.PeerMessage_ReadIndexAck{ReadIndexAck: &peerpb.ReadIndexAck{
			Seq: m.Seq, Index: uint64(m.Index), Rejected: m.Rejected}}
	case raft.Removed:
		p.Body = &peerpb.PeerMessage_Removed{Removed: &peerpb.Removed{Index: uint64(m.Index)}}
	}
}

func unpackBody(p *peerpb.PeerMessage) (raft.Message, error) {
	e := raft.Envelope{From: raft.ID(p.From), To: raft.ID(p.To), Term: raft.Term(p.Term)}
	switch b := p.Body.(type) {
	case *peerpb.PeerMessage_Append:
		return unpackAppend(e, b.Append)
	case *peerpb.PeerMessage_AppendAck:
		a := b.AppendAck
		return raft.AppendAck{Envelope: e, Match: raft.Index(a.Match), Rejected: a.Rejected, Prev: raft.Index(a.Prev),
			Hint: unpackID(a.Hint), Round: a.Round}, nil
	case *peerpb.PeerMessage_Heartbeat:
		h := b.Heartbeat
		return raft.Heartbeat{Envelope: e, Commit: raft.Index(h.Commit), Round: h.Round, Silent: h.Silent}, nil
	case *peerpb.PeerMessage_HeartbeatAck:
		return raft.HeartbeatAck{Envelope: e, Round: b.HeartbeatAck.Round}, nil
	case *peerpb.PeerMessage_Vote:
		return raft.Vote{Envelope: e, Last: unpackID(b.Vote.Last), Pre: b.Vote.Pre, Transfer: b.Vote.Transfer}, nil
	case *peerpb.PeerMessage_VoteAck:
		return raft.VoteAck{Envelope: e, Pre: b.VoteAck.Pre, Granted: b.VoteAck.Granted}, nil
	case *peerpb.PeerMessage_TimeoutNow:
		return raft.TimeoutNow{Envelope: e, Commit: raft.Index(b.TimeoutNow.Commit)}, nil
	case *peerpb.PeerMessage_ReadIndex:
		return raft.ReadIndex{Envelope: e, Seq: b.ReadIndex.Seq}, nil
	case *peerpb.PeerMessage_ReadIndexAck:
		a := b.ReadIndexAck
		return raft.ReadIndexAck{Envelope: e, Seq: a.Seq, Index: raft.Index(a.Index), Rejected: a.Rejected}, nil
	case *peerpb.PeerMessage_Removed:
		return raft.Removed{Envelope: e, Index: raft.Index(b.Removed.Index)}, nil
	}
	if p.Body == nil && len(p.ProtoReflect().GetUnknown()) == 0 {
		return Clock{e}, nil
	}
	return nil, fmt.Errorf("%w: a body of a kind that this version does not know", ErrPeerMessage)
}

func packID(id raft.EntryID) *peerpb.EntryID {
	if id == (raft.EntryID{}) {
		return nil
	}
	return &peerpb.EntryID{Term: uint64(id.Term), Index: uint64(id.Index)}
}

func unpackID(id *peerpb.EntryID) raft.EntryID {
	return raft.EntryID{Term: raft.Term(id.GetTerm()), Index: raft.Index(id.GetIndex())}
}

// packEntries makes all messages of the entries with two allocations. Their data is not copied.
func packEntries(entries []raft.Entry) []*peerpb.Entry {
	if len(entries) == 0 {
		return nil
	}
	packed, pointers := make([]peerpb.Entry, len(entries)), make([]*peerpb.Entry, len(entries))
	for i, entry := range entries {
		p := &packed[i]
		p.Term, p.Kind, p.Data = uint64(entry.ID.Term), uint32(entry.Kind), entry.Data
		pointers[i] = p
	}
	return pointers
}

// unpackAppend gives the entries their indexes, which follow Prev. Their data is what protobuf copied out of the frame.
func unpackAppend(e raft.Envelope, a *peerpb.Append) (raft.Message, error) {
	m := raft.Append{Envelope: e, Prev: unpackID(a.Prev), Commit: raft.Index(a.Commit), Round: a.Round}
	if len(a.Entries) == 0 {
		return m, nil
	}
	m.Entries = make([]raft.Entry, len(a.Entries))
	for i, entry := range a.Entries {
		if entry.Kind > uint32(raft.EntryConfiguration) {
			return nil, fmt.Errorf("%w: entry %d of an append has kind %d, which this version does not know", ErrPeerMessage, i, entry.Kind)
		}
		m.Entries[i] = raft.Entry{ID: raft.EntryID{Term: raft.Term(entry.Term), Index: m.Prev.Index + raft.Index(i) + 1},
			Kind: raft.EntryKind(entry.Kind)}
		if len(entry.Data) > 0 {
			m.Entries[i].Data = entry.Data // no data is nil, however it was encoded
		}
	}
	return m, nil
}
