package driver

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// quicNode is a node that answers as a fakeNode does, over QUIC on the loopback interface.
type quicNode struct {
	*transport.Endpoint
	id      raft.ID
	members func() []*sqlpb.Member
}

func listen(t *testing.T, authority *identity.Authority, id raft.ID) *quicNode {
	t.Helper()
	who, err := authority.NewIdentity(id)
	if err != nil {
		t.Fatal(err)
	}
	n := &quicNode{id: id}
	n.Endpoint, err = transport.Listen(transport.Config{
		Listen: "127.0.0.1:0", Identity: who, Incarnation: uint64(id), OnSession: n.session})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

// session reads on while a request runs, as nodes do.
func (n *quicNode) session(ctx context.Context, s *transport.Session) {
	cancelled := make(chan uint64, 1)
	requests := make(chan *sqlpb.ClientFrame)
	go func() {
		defer close(requests)
		for {
			frame := new(sqlpb.ClientFrame)
			if s.Recv(frame) != nil {
				return
			}
			if id := frame.GetCancel().GetId(); id != 0 {
				cancelled <- id
				continue
			}
			select {
			case requests <- frame:
			case <-ctx.Done():
				return
			}
		}
	}()
	for frame := range requests {
		if frame.GetHello() != nil {
			s.Send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Welcome{Welcome: &sqlpb.Welcome{
				Version: 1, Node: uint64(n.id), Session: make([]byte, 16), Leader: 1, Members: n.members()}}})
		} else if x := frame.GetExecute(); x != nil {
			n.execute(s, x, cancelled)
		}
		s.Flush()
	}
}

func (n *quicNode) execute(s *transport.Session, x *sqlpb.Execute, cancelled <-chan uint64) {
	switch x.Statements[0].Sql {
	case "select large":
		s.Send(columns(x.Id, "n", "blob"))
		for i := range int64(200) {
			if s.Send(rowsFrame(x.Id, []any{i, bytes.Repeat([]byte{byte(i)}, 100<<10)})) != nil {
				return
			}
		}
		s.Send(done(x.Id, &sqlpb.Done{Index: 5}))
	case "select endless":
		s.Flush()
		if <-cancelled != x.Id {
			panic("another request was cancelled")
		}
		s.Send(failed(x.Id, sqlpb.Class_CLASS_CANCELLED, sqlpb.Retry_RETRY_SAME, "cancelled"))
	case "die; die":
		go n.Endpoint.Close() // which waits for this session
	default:
		s.Send(done(x.Id, &sqlpb.Done{Index: 7, Wrote: true, RowsAffected: 1}))
	}
}

// TestQUIC proves that the driver works over the real transport: a result of 20 MB, a cancel after which the session
// lives on, an unknown outcome when the node dies, and another node after that.
func TestQUIC(t *testing.T) {
	authority, err := identity.NewAuthority(identity.Cluster{7})
	if err != nil {
		t.Fatal(err)
	}
	one, two := listen(t, authority, 1), listen(t, authority, 2)
	members := func() []*sqlpb.Member {
		return []*sqlpb.Member{{Id: 1, Name: "n1", Address: one.Addr().String()}, {Id: 2, Name: "n2", Address: two.Addr().String()}}
	}
	one.members, two.members = members, members
	credential := filepath.Join(t.TempDir(), "app.pem")
	content, err := authority.SignClient("app", identity.RoleWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := identity.WriteSecret(credential, content); err != nil {
		t.Fatal(err)
	}
	connector, err := NewConnector(Config{Addresses: []string{one.Addr().String()}, Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	c, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	rows, err := db.QueryContext(t.Context(), "select large")
	if err != nil {
		t.Fatal(err)
	}
	var n, sum int
	var blob []byte
	for rows.Next() {
		if err := rows.Scan(&n, &blob); err != nil || len(blob) != 100<<10 || blob[5] != byte(n) {
			t.Fatalf("row %d: %d bytes, %v", n, len(blob), err)
		}
		sum += n
	}
	if rows.Err() != nil || sum != 199*200/2 {
		t.Errorf("sum %d, %v", sum, rows.Err())
	}

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Execute(ctx, Request{SQL: "select endless"}); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	run(t, c, "insert")
	if c.Node() != 1 || connector.Index() != 7 {
		t.Errorf("at node %d, index %d", c.Node(), connector.Index())
	}

	if _, err := c.Execute(t.Context(), Request{SQL: "die; die"}); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("the node died: %v", err)
	}
	run(t, c, "insert")
	if c.Node() != 2 || c.NodeName() != "n2" {
		t.Errorf("now at node %d", c.Node())
	}
}

// TestQUICRefuses proves that a client of another cluster is refused with a reason on its own side.
func TestQUICRefuses(t *testing.T) {
	authority, err := identity.NewAuthority(identity.Cluster{7})
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := identity.NewAuthority(identity.Cluster{8})
	if err != nil {
		t.Fatal(err)
	}
	credential, err := strangers.NewCredential("eve", identity.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	node := listen(t, authority, 1)
	connector, err := NewConnector(Config{Addresses: []string{node.Addr().String()}, Cred: credential})
	if err != nil {
		t.Fatal(err)
	}
	defer connector.Close()
	if _, err := connector.Open(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	} else {
		t.Log(err)
	}
}
