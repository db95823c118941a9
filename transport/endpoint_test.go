package transport

import (
	"bytes"
	"fmt"
	"net"
	"reflect"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// examples is a message of each kind.
func examples(from, to raft.ID) []raft.Message {
	e := raft.Envelope{From: from, To: to, Term: 7}
	return []raft.Message{
		raft.Append{Envelope: e, Prev: raft.EntryID{Term: 6, Index: 9}, Commit: 9, Round: 3, Entries: []raft.Entry{
			{ID: raft.EntryID{Term: 7, Index: 10}, Data: []byte("ten")}, {ID: raft.EntryID{Term: 7, Index: 11}, Kind: raft.EntryNoop}}},
		raft.AppendAck{Envelope: e, Match: 11, Round: 3},
		raft.Heartbeat{Envelope: e, Commit: 9, Round: 4},
		raft.HeartbeatAck{Envelope: e, Round: 4},
		raft.Vote{Envelope: e, Last: raft.EntryID{Term: 6, Index: 9}, Pre: true},
		raft.VoteAck{Envelope: e, Pre: true, Granted: true},
		raft.TimeoutNow{Envelope: e, Commit: 11},
		raft.ReadIndex{Envelope: e, Seq: 5},
		raft.ReadIndexAck{Envelope: e, Seq: 5, Index: 11},
		raft.Removed{Envelope: e, Index: 11},
	}
}

// Messages of every kind arrive at the peer as they were sent, in both directions.
func TestMessagesArrive(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	meet(t, a, b)
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		for _, sent := range examples(pair[0].self, pair[1].self) {
			pair[0].Send(sent)
			got := pair[1].receive()
			if appended, ok := got.(raft.Append); ok {
				for i := range appended.Entries { // empty or nil is all the same
					if len(appended.Entries[i].Data) == 0 {
						appended.Entries[i].Data = nil
					}
				}
			}
			if !reflect.DeepEqual(got, sent) {
				t.Errorf("sent %+v, got %+v", sent, got)
			}
		}
	}
	if rtt, known := a.RTT(2); !known || rtt <= 0 {
		t.Errorf("round trip is %v, %v", rtt, known)
	}
	counted := a.Counters()
	if counted.Sent != 10 || counted.Received != 10 || counted.Datagrams != 8 || counted.Misfit+counted.Malformed+counted.QueueFull != 0 {
		t.Errorf("counted %+v", counted)
	}
}

// Appends arrive in the order in which they were sent, small and large ones mixed.
func TestAppendsKeepTheirOrder(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	meet(t, a, b)
	const count = 400
	large := bytes.Repeat([]byte("x"), 100<<10)
	for i := range raft.Index(count) {
		data := large[:10]
		if i%50 == 7 {
			data = large
		}
		a.Send(raft.Append{Envelope: raft.Envelope{From: 1, To: 2, Term: 1}, Prev: raft.EntryID{Term: 1, Index: i + 1},
			Entries: []raft.Entry{{ID: raft.EntryID{Term: 1, Index: i + 2}, Data: data}}})
	}
	for i := range raft.Index(count) {
		if got := b.receive().(raft.Append); got.Prev.Index != i+1 || len(got.Entries) != 1 {
			t.Fatalf("got the append after %v with %d entries, want the one after 1/%d", got.Prev, len(got.Entries), i+1)
		}
	}
}

// Every pair of three nodes is connected, and a message reaches only the node it is for.
func TestThreeNodes(t *testing.T) {
	r := newRealm(t)
	nodes := []*node{r.start(1), r.start(2), r.start(3)}
	meet(t, nodes...)
	for _, from := range nodes {
		for _, to := range nodes {
			if from != to {
				from.reach(to)
			}
		}
	}
	for _, n := range nodes {
		if counted := n.Counters(); counted.Misfit != 0 {
			t.Errorf("node %d got %d messages for others", n.self, counted.Misfit)
		}
	}
}

// A small message that is too large for a datagram arrives on the stream instead.
func TestLargeDatagramGoesOnStream(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1, func(c *Config) { c.maxDatagram = 1 }), r.start(2)
	meet(t, a, b)
	a.reach(b)
	if counted := a.Counters(); counted.Oversized == 0 || counted.Datagrams != 0 {
		t.Errorf("counted %+v", counted)
	}
}

// A message for a node without a connection is dropped and counted.
func TestSendWithoutConnection(t *testing.T) {
	a := newRealm(t).start(1)
	a.Send(raft.Heartbeat{Envelope: raft.Envelope{From: 1, To: 2, Term: 1}})
	if counted := a.Counters(); counted.NoConnection != 1 {
		t.Errorf("counted %+v", counted)
	}
	if a.Connected(2) {
		t.Error("connected with a node that is not there")
	}
	if _, known := a.RTT(2); known {
		t.Error("a round trip to a node that is not there")
	}
}

// Listen says what is missing or wrong, and a socket that it was given stays the caller's when it fails.
func TestListenErrors(t *testing.T) {
	r := newRealm(t)
	who, err := r.authority.NewIdentity(1)
	if err != nil {
		t.Fatal(err)
	}
	taken := r.start(2)
	for want, config := range map[string]Config{
		"opening an endpoint: an identity is required":                                                        {Listen: "127.0.0.1:0", Incarnation: 1},
		"opening an endpoint: an incarnation other than zero is required":                                     {Listen: "127.0.0.1:0", Identity: who},
		"opening an endpoint: a connection or an address to listen on is required":                            {Identity: who, Incarnation: 1},
		fmt.Sprintf("listening on %s (UDP): listen udp %[1]s: bind: address already in use", taken.address()): {Listen: taken.address(), Identity: who, Incarnation: 1},
	} {
		e, err := Listen(config)
		if err == nil {
			e.Close()
		}
		if fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// Close may be called twice, and gives the port back.
func TestCloseGivesPortBack(t *testing.T) {
	r := newRealm(t)
	a := r.start(1)
	a.close()
	a.close()
	conn, err := net.ListenPacket("udp", a.address())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	a.SetPeers(map[raft.ID]string{2: "127.0.0.1:1"})
	a.Send(raft.Heartbeat{Envelope: raft.Envelope{From: 1, To: 2, Term: 1}})
}
