package db_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// pack encodes frames as FuzzSession takes them: a length of two bytes, then the message.
func pack(f *testing.F, frames ...*sqlpb.ClientFrame) (packed []byte) {
	f.Helper()
	for _, frame := range frames {
		content, err := proto.Marshal(frame)
		if err != nil {
			f.Fatal(err)
		}
		packed = append(packed, byte(len(content)>>8), byte(len(content)))
		packed = append(packed, content...)
	}
	return packed
}

// FuzzSession sends whatever to a session of a node that lives through all of it: the node never crashes, every session
// ends or still answers, and others are not disturbed.
func FuzzSession(f *testing.F) {
	dir := filepath.Join(f.TempDir(), "data")
	n, err := db.Open(context.Background(), db.Config{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			f.Error(err)
		}
	})
	conn, err := transport.DialSQL(context.Background(), n.Address(), credential(f, dir, identity.RoleWrite), transport.DialOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })
	addSeeds(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		r := streamOf(t, conn)
		r.play(script)
		r.Close() // a read that it left would hold up the next one
		other := streamOf(t, conn)
		defer other.Close()
		other.hello(good)
		if other.next().GetWelcome() == nil {
			t.Error("another session is not welcome")
		}
		other.execute(&sqlpb.Execute{}, "select 1")
		if a := other.answer(); a.err != nil || len(a.rows) != 1 {
			t.Errorf("another session answers %v, %v", a.rows, a.err)
		}
	})
}

// play sends hello and the frames of script, and waits until the session ends or answers a ping that follows them.
func (r *raw) play(script []byte) {
	for greet := true; greet || len(script) >= 2; greet = false {
		frame := &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: good}}
		if !greet {
			size := min(int(script[0])<<8|int(script[1]), len(script)-2)
			frame, script = garbage(script[2:2+size]), script[2+size:]
		}
		if errors.Join(r.Send(frame), r.Flush()) != nil {
			return // the session has ended
		}
	}
	const last = 1<<63 + 12345
	ended := r.Send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{Ping: &sqlpb.Ping{Id: last}}})
	ended = errors.Join(ended, r.Flush())
	watch := time.AfterFunc(patience, func() {
		r.Error("the session neither ends nor answers")
		r.Close()
	})
	defer watch.Stop()
	for pong := false; !pong && ended == nil; {
		var frame sqlpb.ServerFrame
		ended = r.Recv(&frame)
		pong = frame.GetPong().GetId() == last
	}
}

// addSeeds adds what clients send, and what they should not.
func addSeeds(f *testing.F) {
	f.Helper()
	x := func(x *sqlpb.Execute) *sqlpb.ClientFrame {
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: x}}
	}
	control := func(id uint64, verb string, args ...string) *sqlpb.ClientFrame {
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Id: id, Verb: verb, Args: args}}}
	}
	text := func(sql string) []*sqlpb.Statement { return []*sqlpb.Statement{{Sql: sql}} }
	f.Add([]byte("\x00\x05hello"))
	f.Add(pack(f, x(&sqlpb.Execute{Id: 1, Seq: 1, Statements: text("create table if not exists t(x); insert into t values(?); select * from t")})))
	f.Add(pack(f, x(&sqlpb.Execute{Id: 1, Level: 99, MinIndex: 1 << 63, TimeoutMs: 1, Statements: text("select ?5, :a, x'")}), x(&sqlpb.Execute{})))
	f.Add(pack(f, x(&sqlpb.Execute{Id: 1, TimeoutMs: 5, Statements: text(endless)}), &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Cancel{Cancel: &sqlpb.Cancel{Id: 1}}},
		&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{Ping: &sqlpb.Ping{Id: 3}}}))
	f.Add(pack(f, x(&sqlpb.Execute{Id: 1, Atomic: true, Statements: []*sqlpb.Statement{{Sql: "select ?", Args: []*sqlpb.Argument{{Name: "\x00"}, {Value: &sqlpb.Value{}}}}, {}}})))
	f.Add(pack(f, control(1, "nodes"), control(2, "admit", "!", "!"), control(3, "remove", "1"), control(4, "token", "x", "y")))
	f.Add(pack(f, control(1, "status"), &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: &sqlpb.Hello{Version: 1, OnBehalf: &sqlpb.Principal{}}}}))
	f.Add(pack(f, &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{}}, &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Cancel{}}, &sqlpb.ClientFrame{}))
}
