package transport

import (
	"bufio"
	"bytes"
	"errors"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// strayLink is a link from node 2 to node 1 without a connection, for what is read on one.
func strayLink(onMessage func(raft.Message)) *link {
	e := &Endpoint{self: 1, cluster: identity.Cluster{1, 2, 3}, config: Config{
		OnMessage: onMessage, OnClock: func(raft.ID, int64) {}, Incarnation: 11, Fingerprint: []byte("same"), Limits: Limits{}.withDefaults()}}
	return &link{endpoint: e, peer: 2, incarnation: 22}
}

// envelopes are a message of each kind as node 2 sends it, and some that are not for this link.
func envelopes(f *testing.F, framed bool) (all [][]byte) {
	f.Helper()
	encode := wire.EncodePeer
	if framed {
		encode = wire.AppendPeerFrame
	}
	add := func(cluster identity.Cluster, incarnation uint64, m raft.Message) {
		encoded, err := encode(nil, cluster, incarnation, 5, m)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, encoded)
	}
	for _, m := range examples(2, 1) {
		add(identity.Cluster{1, 2, 3}, 22, m)
	}
	add(identity.Cluster{1, 2, 3}, 22, wire.Clock{Envelope: raft.Envelope{From: 2, To: 1}})
	add(identity.Cluster{9}, 22, examples(2, 1)[0])
	add(identity.Cluster{1, 2, 3}, 23, examples(2, 1)[0])
	add(identity.Cluster{1, 2, 3}, 22, examples(3, 1)[0])
	add(identity.Cluster{1, 2, 3}, 22, examples(2, 3)[0])
	return all
}

// belongs fails the test if a message is not from node 2 for node 1.
func belongs(t *testing.T) func(raft.Message) {
	return func(m raft.Message) {
		if names := m.Header(); names.From != 2 || names.To != 1 {
			t.Errorf("got a message from node %d to node %d", names.From, names.To)
		}
	}
}

// Whatever a datagram holds, it is delivered, or counted as a misfit, or as malformed, and only messages of this link are
// delivered.
func FuzzDatagram(f *testing.F) {
	for _, encoded := range envelopes(f, false) {
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		l := strayLink(belongs(t))
		l.deliver(datagram)
		c := &l.endpoint.counters
		if c.received.Load()+c.clocks.Load()+c.misfit.Load()+c.malformed.Load() != 1 {
			t.Errorf("received %d, clocks %d, misfit %d, malformed %d", c.received.Load(), c.clocks.Load(), c.misfit.Load(), c.malformed.Load())
		}
	})
}

// Whatever the stream for appends holds, reading it ends with an error and delivers only messages of this link.
func FuzzAppends(f *testing.F) {
	all := envelopes(f, true)
	f.Add(bytes.Join(all, nil))
	for _, encoded := range all {
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if err := strayLink(belongs(t)).readAppends(bufio.NewReader(bytes.NewReader(stream))); err == nil {
			t.Error("reading ended without an error")
		}
	})
}

// Whatever a stream begins with, only a header that fits is taken.
func FuzzHeader(f *testing.F) {
	for _, kind := range []peerpb.StreamHeader_Kind{0, 1, 2, 3, 4} {
		frame, err := wire.AppendFrame(nil, &peerpb.StreamHeader{Version: 1, Cluster: append([]byte{1, 2, 3}, make([]byte, 13)...),
			From: 2, To: 1, Incarnation: 22, Fingerprint: []byte("same"), Kind: kind})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		l := strayLink(nil)
		in := bufio.NewReaderSize(bytes.NewReader(stream), readBuffer)
		header, err := l.endpoint.readHeader(in, 2, 22, peerpb.StreamHeader_KIND_RELAY, peerpb.StreamHeader_KIND_KEY)
		var different *mismatch
		switch {
		case err == nil && (header.From != 2 || header.To != 1 || header.Kind != peerpb.StreamHeader_KIND_RELAY && header.Kind != peerpb.StreamHeader_KIND_KEY):
			t.Errorf("took %v", header)
		case err != nil && header != nil:
			t.Errorf("got a header with %v", err)
		case err != nil && !errors.As(err, &different) && err.Error() == "":
			t.Error("an error without words")
		}
	})
}

// A message that fits is delivered, and one that differs in any of the names is counted and dropped.
func TestMisfitsAreDropped(t *testing.T) {
	l := strayLink(belongs(t))
	for _, test := range []struct {
		cluster     identity.Cluster
		incarnation uint64
		from, to    raft.ID
		fits        bool
	}{
		{identity.Cluster{1, 2, 3}, 22, 2, 1, true},
		{identity.Cluster{1, 2}, 22, 2, 1, false},
		{identity.Cluster{1, 2, 3}, 21, 2, 1, false},
		{identity.Cluster{1, 2, 3}, 22, 3, 1, false},
		{identity.Cluster{1, 2, 3}, 22, 2, 3, false},
	} {
		received, misfit := l.endpoint.counters.received.Load(), l.endpoint.counters.misfit.Load()
		encoded, err := wire.EncodePeer(nil, test.cluster, test.incarnation, 1, examples(test.from, test.to)[2])
		if err != nil {
			t.Fatal(err)
		}
		if err := l.deliver(encoded); err != nil {
			t.Errorf("%+v: %v", test, err)
		}
		fits := l.endpoint.counters.received.Load() == received+1
		if fits != test.fits || fits == (l.endpoint.counters.misfit.Load() == misfit+1) {
			t.Errorf("%+v: delivered %v", test, fits)
		}
	}
}
