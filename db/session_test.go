package db_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// garbage is a frame whose message is these bytes, which need not be any.
func garbage(content []byte) *sqlpb.ClientFrame {
	frame := new(sqlpb.ClientFrame)
	frame.ProtoReflect().SetUnknown(content)
	return frame
}

// ends checks that the session is told why it ends, and ends.
func (r *raw) ends(t *testing.T, class sqlpb.Class, says string) {
	t.Helper()
	for {
		frame, err := r.receive()
		if err != nil {
			t.Fatalf("the session ends with %v, want an error with %q", err, says)
		}
		if e := frame.GetError(); e != nil && e.Id == 0 {
			if e.Class != class || !strings.Contains(e.Message, says) {
				t.Errorf("the session ends with %v, want %v and %q", e, class, says)
			}
			break
		}
	}
	for {
		if _, err := r.receive(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("after its error the session ends with %v, want the end of the stream", err)
		}
	}
}

// violations are what no client of this version does.
var violations = []struct {
	name  string
	hello *sqlpb.Hello // nil: the frame below is the first
	send  func(*raw)
	class sqlpb.Class
	says  string
}{
	{"no hello", nil, func(r *raw) { r.execute(&sqlpb.Execute{}, "select 1") }, protocolClass, "must be hello"},
	{"no version", &sqlpb.Hello{}, nil, protocolClass, "names no version"},
	{"newer version", &sqlpb.Hello{Version: 7}, nil, protocolClass, "version 7 of the session protocol and this node version 1"},
	{"short session id", &sqlpb.Hello{Version: 1, Session: []byte("short")}, nil, protocolClass, "16 bytes, not 5"},
	{"unknown level", &sqlpb.Hello{Version: 1, Level: 9}, nil, protocolClass, "level 9"},
	{"long name", &sqlpb.Hello{Version: 1, Client: strings.Repeat("x", 1000)}, nil, protocolClass, "1000 bytes"},
	{"on behalf", &sqlpb.Hello{Version: 1, OnBehalf: &sqlpb.Principal{Name: "x", Role: sqlpb.Role_ROLE_ADMIN}}, nil,
		sqlpb.Class_CLASS_DENIED, "only a member of the cluster"},
	{"second hello", good, func(r *raw) { r.hello(good) }, protocolClass, "one hello"},
	{"two at once", good, func(r *raw) {
		r.execute(&sqlpb.Execute{}, endless)
		r.execute(&sqlpb.Execute{}, "select 1")
	}, protocolClass, "request 2 arrived while request 1 runs"},
	{"request zero", good, func(r *raw) { r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: &sqlpb.Execute{}}}) },
		protocolClass, "id above zero"},
	{"control zero", good, func(r *raw) {
		r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Verb: "nodes"}}})
	}, protocolClass, "id above zero"},
	{"unknown frame", good, func(r *raw) { r.send(garbage([]byte{0xfa, 0x01, 0x00})) }, protocolClass, "does not know"},
	{"empty frame", good, func(r *raw) { r.send(&sqlpb.ClientFrame{}) }, protocolClass, "does not know"},
	{"no message", good, func(r *raw) { r.send(garbage(bytes.Repeat([]byte{0xff}, 100))) }, protocolClass, "reading a frame"},
	{"no message first", nil, func(r *raw) { r.send(garbage([]byte("GET / HTTP/1.1\r\n"))) }, protocolClass, "reading the first frame"},
}

// A client that breaks the protocol hears what it did wrong, and its session ends. Another session on the same
// connection does not notice.
func TestProtocolViolations(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	admin := credential(t, dir, identity.RoleAdmin)
	conn, err := transport.DialSQL(t.Context(), n.Address(), admin, transport.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	healthy := streamOf(t, conn)
	healthy.hello(&sqlpb.Hello{Version: 1})
	welcome := healthy.next().GetWelcome()
	for _, test := range violations {
		t.Run(test.name, func(t *testing.T) {
			r := streamOf(t, conn)
			if test.hello != nil {
				r.hello(test.hello)
			}
			if test.send != nil {
				test.send(r)
			}
			r.ends(t, test.class, test.says)
			healthy.execute(&sqlpb.Execute{}, "select 1")
			if a := healthy.answer(); fmt.Sprint(a.rows) != "[[1]]" {
				t.Errorf("the other session answers %v", a)
			}
		})
	}
	if welcome.Node != 1 || welcome.Version != 1 || len(welcome.Session) != 16 || welcome.Leader != 1 || len(welcome.Members) != 1 {
		t.Errorf("the welcome was %v", welcome)
	}
}

var good = &sqlpb.Hello{Version: 1}

const protocolClass = sqlpb.Class_CLASS_PROTOCOL

// A request that cannot be served fails alone: the session goes on.
func TestRequestErrors(t *testing.T) {
	dir := t.TempDir()
	n := openWith(t, db.Config{Data: dir, MaxStatements: 3})
	r := greeted(t, n, dir)
	for _, test := range []struct {
		name  string
		x     *sqlpb.Execute
		sql   []string
		class sqlpb.Class
		says  string
	}{
		{"no statement", &sqlpb.Execute{}, nil, protocolClass, "needs a statement"},
		{"too many", &sqlpb.Execute{}, []string{"select 1", "select 2", "select 3", "select 4"}, sqlpb.Class_CLASS_TOO_LARGE, "4 statements and may hold 3"},
		{"unknown level", &sqlpb.Execute{Level: 77}, []string{"select 1"}, protocolClass, "level 77"},
		{"read only", &sqlpb.Execute{ReadOnly: true, Seq: 1}, []string{"create table no(x)"}, sqlpb.Class_CLASS_DENIED, "read-only"},
		{"read only later", &sqlpb.Execute{ReadOnly: true, Seq: 1}, []string{"select 1; create table no(x)"}, sqlpb.Class_CLASS_DENIED, "read-only"},
		{"policy", &sqlpb.Execute{Seq: 1}, []string{"attach 'x' as y"}, sqlpb.Class_CLASS_DENIED, "attach is not supported"},
		{"ahead", &sqlpb.Execute{MinIndex: 1 << 40, TimeoutMs: 30}, []string{"select 1"}, sqlpb.Class_CLASS_STALE, "has applied up to index"},
		{"deadline", &sqlpb.Execute{TimeoutMs: 30}, []string{endless}, sqlpb.Class_CLASS_CANCELLED, "the deadline passed before the request was done; nothing was changed"},
		{"wide row", &sqlpb.Execute{}, []string{"select zeroblob(20000000), zeroblob(20000000)"}, sqlpb.Class_CLASS_TOO_LARGE, "a row of 4000001"},
		{"large value", &sqlpb.Execute{}, []string{"select zeroblob(40000000)"}, sqlpb.Class_CLASS_TOO_LARGE, "the limit of the setting sql.max_value_bytes"},
		{"wide name", &sqlpb.Execute{}, []string{"select 1 as '" + strings.Repeat("n", 17<<20) + "', 1 as '" + strings.Repeat("m", 14<<20) + "'"}, sqlpb.Class_CLASS_UNSPECIFIED, ""},
		{"long garbage", &sqlpb.Execute{Seq: 1}, []string{strings.Repeat("garbage ", 2<<20)}, sqlpb.Class_CLASS_SQL, "syntax error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			id := r.execute(test.x, test.sql...)
			a := r.answer()
			if test.class == sqlpb.Class_CLASS_UNSPECIFIED {
				if a.err != nil {
					t.Errorf("it ends with %v", a.err.Message)
				}
			} else if a.err == nil || a.err.Id != id || a.err.Class != test.class || !strings.Contains(a.err.Message, test.says) {
				t.Errorf("it ends with %v, want %v and %q", a.err, test.class, test.says)
			}
			r.execute(&sqlpb.Execute{}, "select 1")
			if a := r.answer(); fmt.Sprint(a.rows) != "[[1]]" {
				t.Errorf("the next request answers %v", a)
			}
		})
	}
	r.id++
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Id: r.id, Verb: strings.Repeat("\x01", 20<<20)}}})
	if a := r.answer(); a.err.GetClass() != protocolClass || len(a.err.Message) > 1000 {
		t.Errorf("an endless verb is answered by %.300v", a.err)
	}
}

// Ping is answered while a request runs, a Cancel of another request does nothing, and one of the request that runs ends
// it; one that comes too late, or twice, is ignored.
func TestPingAndCancel(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	id := r.execute(&sqlpb.Execute{}, endless)
	r.cancel(id + 1)
	r.cancel(0)
	awaitRunning(r)
	r.ping(5)
	if frame := r.next(); frame.GetPong().GetId() != 5 {
		t.Errorf("a ping during a request is answered by %v", frame)
	}
	r.cancel(id)
	r.cancel(id)
	if a := r.answer(); a.err.GetClass() != sqlpb.Class_CLASS_CANCELLED || a.err.Id != id || a.err.Message != "cancelled by the client; nothing was changed" {
		t.Errorf("the cancelled request ends with %v", a.err)
	}
	r.cancel(id)
	r.execute(&sqlpb.Execute{}, "select 'alive'")
	if a := r.answer(); fmt.Sprint(a.rows) != "[[alive]]" {
		t.Errorf("after the cancel the session answers %v", a)
	}
}

// The end of the stream, half of it too, ends the request that runs.
func TestStreamEndsRequest(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	half, whole := greeted(t, n, dir), greeted(t, n, dir)
	for _, r := range []*raw{half, whole} {
		r.execute(&sqlpb.Execute{}, endless)
		awaitRunning(r)
	}
	if err := half.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := half.answer(); a.err.GetClass() != sqlpb.Class_CLASS_CANCELLED {
		t.Errorf("the request ends with %v", a.err)
	}
	whole.Close()
	closeNode(t, n) // and goleak sees to it that nobody runs on
}

// A client that takes no rows holds a read up, but not for ever: when the read has ended, by its deadline here, the
// session is cut off.
func TestStalledClient(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := openNode(t, dir)
	r := greeted(t, n, dir)
	r.execute(&sqlpb.Execute{TimeoutMs: 100},
		"with recursive c(x) as (select 1 union all select x + 1 from c) select hex(zeroblob(10000)) from c")
	select {
	case <-r.Stream.Context().Done():
	case <-time.After(patience):
		t.Fatal("the session stands, with a read that ended long ago")
	}
	expect(t, open(t, n, dir), driver.Request{SQL: "select 1"}, "[[1]]")
}

// A session keeps the id that its client has had, if it is not too old to write, and is given one that begins with the
// time otherwise.
func TestSessionID(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	admin := credential(t, dir, identity.RoleAdmin)
	mine := bytes.Repeat([]byte{0x7e}, 16)
	r := dialRaw(t, n, admin)
	r.hello(&sqlpb.Hello{Version: 1, Session: mine})
	if w := r.next().GetWelcome(); !bytes.Equal(w.Session, mine) {
		t.Errorf("the session is %x", w.Session)
	}
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x)")
	if a := r.answer(); a.err.GetClass() != sqlpb.Class_CLASS_PROTOCOL || !strings.Contains(a.err.Message, "clock") {
		t.Fatalf("a session from the future writes: %v", a.err)
	}
	r = dialRaw(t, n, admin)
	r.hello(&sqlpb.Hello{Version: 1, Session: make([]byte, 16)})
	r.next()
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x)")
	if a := r.answer(); a.err.GetClass() != sqlpb.Class_CLASS_OUTCOME_UNKNOWN {
		t.Fatalf("a session from long ago writes: %v", a.err)
	}
	r = dialRaw(t, n, admin)
	before := time.Now().UnixNano()
	r.hello(&sqlpb.Hello{Version: 1})
	w := r.next().GetWelcome()
	if made := int64(binary.BigEndian.Uint64(w.Session)); made < max(before, w.ClusterTime) || made > time.Now().UnixNano() {
		t.Errorf("the session %x does not begin with the time", w.Session)
	}
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x)")
	if a := r.answer(); a.err != nil {
		t.Fatal(a.err)
	}
}
