package transport

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// plain gives a node the socket that it has outside of tests, on which QUIC is faster.
func plain(b *testing.B) func(*Config) {
	b.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	return func(c *Config) {
		if err := c.Conn.Close(); err != nil {
			b.Error(err)
		}
		c.Conn = conn
	}
}

// BenchmarkSession is a request and its answer on a session that stays open.
func BenchmarkSession(b *testing.B) {
	r := newRealm(b)
	n := r.start(1, serving(echo), plain(b))
	s := r.client(n).open(b)
	request := ping(1)
	var answer sqlpb.ServerFrame
	b.ReportAllocs()
	for b.Loop() {
		if s.Send(request) != nil || s.Flush() != nil || s.Recv(&answer) != nil {
			b.Fatal("the session ended")
		}
	}
}

// BenchmarkRows is the rate at which a client reads a large result.
func BenchmarkRows(b *testing.B) {
	r := newRealm(b)
	rows := &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: &sqlpb.Rows{Packed: make([]byte, 64<<10)}}}
	n := r.start(1, plain(b), serving(func(_ context.Context, s *Session) {
		if s.Recv(new(sqlpb.ClientFrame)) != nil {
			return
		}
		for s.Send(rows) == nil {
		}
	}))
	s := r.client(n).open(b)
	s.say(b, ping(1))
	var answer sqlpb.ServerFrame
	b.SetBytes(64 << 10)
	for b.Loop() {
		if err := s.Recv(&answer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend is an append of one small entry and its acknowledgement.
func BenchmarkAppend(b *testing.B) {
	appended := raft.Append{Envelope: raft.Envelope{From: 1, To: 2, Term: 1}, Prev: raft.EntryID{Term: 1, Index: 1},
		Entries: []raft.Entry{{ID: raft.EntryID{Term: 1, Index: 2}, Data: make([]byte, 100)}}}
	acked := raft.AppendAck{Envelope: raft.Envelope{From: 2, To: 1, Term: 1}, Match: 2}
	roundTrips(b, appended, acked)
}

// BenchmarkHeartbeat is a heartbeat and its answer, which are datagrams.
func BenchmarkHeartbeat(b *testing.B) {
	roundTrips(b, raft.Heartbeat{Envelope: raft.Envelope{From: 1, To: 2, Term: 1}},
		raft.HeartbeatAck{Envelope: raft.Envelope{From: 2, To: 1, Term: 1}})
}

func roundTrips(b *testing.B, question, answer raft.Message) {
	r := newRealm(b)
	answered := make(chan struct{}, 1)
	var follower *node
	ready := make(chan struct{})
	leader := r.start(1, plain(b), func(c *Config) { c.OnMessage = func(raft.Message) { answered <- struct{}{} } })
	follower = r.start(2, plain(b), func(c *Config) {
		c.OnMessage = func(raft.Message) {
			<-ready
			follower.Send(answer)
		}
	})
	close(ready)
	meet(b, leader, follower)
	b.ReportAllocs()
	for b.Loop() {
		leader.Send(question)
		<-answered
	}
}

// BenchmarkQUIC is what QUIC itself takes for bytes and their echo: the floor of the others.
func BenchmarkQUIC(b *testing.B) {
	r := newRealm(b)
	n := r.start(1, plain(b), serving(func(_ context.Context, s *Session) {
		if err := s.quic.SetReadDeadline(time.Time{}); err != nil {
			return
		}
		_, _ = io.Copy(s.quic, s.quic) // until the client is gone
	}))
	s := r.client(n).open(b)
	var p [100]byte
	for b.Loop() {
		if _, err := s.quic.Write(p[:]); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(s.quic, p[:]); err != nil {
			b.Fatal(err)
		}
	}
}
