package engine

import (
	"errors"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
)

func (l *log) mint(e *Engine, id string, change func(*commandpb.MintToken)) *Result {
	l.t.Helper()
	m := &commandpb.MintToken{Id: []byte(id), Key: make([]byte, 32), Uses: 1}
	if change != nil {
		change(m)
	}
	l.command(&commandpb.Command{Body: &commandpb.Command_MintToken{MintToken: m}})
	return l.apply(e)[0]
}

func (l *log) use(e *Engine, id, key string, learner bool) *Result {
	l.t.Helper()
	l.command(&commandpb.Command{Body: &commandpb.Command_UseToken{UseToken: &commandpb.UseToken{
		Id: []byte(id), Member: &commandpb.Member{Name: "n-" + key, Address: key + ":1", Learner: learner, PublicKey: []byte(key)}}}})
	return l.apply(e)[0]
}

func founded(t *testing.T) (*Engine, *log) {
	t.Helper()
	e, l := openEngine(t, Config{}), newLog(t)
	l.bootstrap(nil)
	if r := l.apply(e)[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	return e, l
}

// Bootstrap makes the cluster once; what it made is there after a restart.
func TestBootstrap(t *testing.T) {
	e, l := founded(t)
	l.bootstrap(nil)
	if r := l.apply(e)[0]; !errors.Is(r.Err, ErrBootstrapped) || r.Code != codeError {
		t.Errorf("a second one: %v", r.Err)
	}
	for range 2 {
		members := e.Members()
		if string(e.cluster()) != "0123456789abcdef" || len(members) != 1 || members[0].ID != 1 || members[0].Address != "127.0.0.1:4001" {
			t.Fatalf("cluster %q, members %v", e.cluster(), members)
		}
		if token, known := e.Token([8]byte([]byte("standing"))); !known || !token.Standing || token.Uses != 0 {
			t.Fatalf("the standing token: %+v, %t", token, known)
		}
		if e.Settings()[SettingMaxRows] != settingDefaults[SettingMaxRows] {
			t.Fatalf("settings %v", e.Settings())
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = openEngine(t, Config{Dir: e.config.Dir})
	}
}

func (e *Engine) cluster() []byte {
	id := e.Cluster()
	return id[:]
}

// UseToken gives a key the index of its first entry as node id, the same for every use, and counts the first only.
func TestUseTokenIsIdempotent(t *testing.T) {
	e, l := founded(t)
	l.mint(e, "token--1", nil)
	first := l.use(e, "token--1", "key of n2", false)
	again := l.use(e, "token--1", "key of n2", true)
	if first.Err != nil || again.Err != nil || first.Node != raft.ID(first.Index) || again.Node != first.Node {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if members := e.Members(); len(members) != 2 || members[1].ID != first.Node || !members[1].Learner {
		t.Errorf("members %v", members)
	}
	if token, _ := e.Token([8]byte([]byte("token--1"))); token.Used != 1 {
		t.Errorf("the token was used %d times", token.Used)
	}
	if other := l.use(e, "token--1", "key of n3", false); !errors.Is(other.Err, ErrTokenUsed) || other.Node != 0 {
		t.Errorf("another key with the used token: %+v", other)
	}
	for _, key := range []string{"key of n4", "key of n5", "key of n6"} {
		if r := l.use(e, "standing", key, false); r.Err != nil || r.Node != raft.ID(r.Index) {
			t.Errorf("%s with the standing token: %+v", key, r)
		}
	}
}

// A token admits only whom and while it says.
func TestTokenLimits(t *testing.T) {
	e, l := founded(t)
	l.mint(e, "learner-", func(m *commandpb.MintToken) { m.Learner = true })
	l.mint(e, "expires-", func(m *commandpb.MintToken) { m.Expires, m.Uses = l.time+7_000_000_000, 0 })
	tests := []struct {
		token, key string
		learner    bool
		want       error
	}{
		{"absent--", "a", false, ErrTokenUnknown},
		{"standing", "", false, ErrMemberKey},
		{"learner-", "b", false, ErrTokenLearner},
		{"learner-", "b", true, nil},
		{"expires-", "c", false, nil}, // six seconds after the token was minted
		{"expires-", "d", false, ErrTokenExpired},
	}
	for _, test := range tests {
		if r := l.use(e, test.token, test.key, test.learner); !errors.Is(r.Err, test.want) || (r.Node != 0) != (test.want == nil) {
			t.Errorf("%s by %q: got %v, want %v", test.token, test.key, r.Err, test.want)
		}
	}
	if r := l.mint(e, "learner-", func(m *commandpb.MintToken) { m.Key[0] = 1 }); !errors.Is(r.Err, ErrTokenExists) {
		t.Errorf("the same id with another key: %v", r.Err)
	}
	if r := l.mint(e, "standing", func(m *commandpb.MintToken) { m.Standing = true }); r.Err != nil {
		t.Errorf("the same token again: %v", r.Err)
	}
	l.mint(e, "standin2", func(m *commandpb.MintToken) { m.Standing, m.Uses = true, 0 })
	if r := l.use(e, "standing", "f", false); !errors.Is(r.Err, ErrTokenUnknown) {
		t.Errorf("the replaced standing token: %v", r.Err)
	}
}

// SetMember changes what a member says of itself, or forgets it; its id and key are never given out again.
func TestSetMember(t *testing.T) {
	e, l := founded(t)
	id := l.use(e, "standing", "key", false).Node
	set := func(m *commandpb.SetMember) *Result {
		l.command(&commandpb.Command{Body: &commandpb.Command_SetMember{SetMember: m}})
		return l.apply(e)[0]
	}
	member := &commandpb.Member{Id: uint64(id), Name: "new", Address: "new:1"}
	if r := set(&commandpb.SetMember{Member: member}); r.Err != nil || e.Members()[1].Address != "new:1" || string(e.Members()[1].PublicKey) != "key" {
		t.Errorf("changing: %v, members %v", r.Err, e.Members())
	}
	if r := set(&commandpb.SetMember{Member: &commandpb.Member{Id: 99}}); !errors.Is(r.Err, ErrMemberUnknown) {
		t.Errorf("changing one that is not there: %v", r.Err)
	}
	if r := set(&commandpb.SetMember{Member: member, Removed: true}); r.Err != nil || len(e.Members()) != 1 {
		t.Errorf("removing: %v, members %v", r.Err, e.Members())
	}
	for _, removed := range []bool{false, true} {
		if r := set(&commandpb.SetMember{Member: member, Removed: removed}); !errors.Is(r.Err, ErrMemberUnknown) {
			t.Errorf("a removed one: %v", r.Err)
		}
	}
	if r := l.use(e, "standing", "key", false); !errors.Is(r.Err, ErrMemberRemoved) {
		t.Errorf("joining again with the key: %v", r.Err)
	}
}

// Recover begins an epoch with one member, whatever that was before, and its epoch stays through a change of settings and a
// restart. Those that were members are so no more, and their ids and keys are not given out again.
func TestRecover(t *testing.T) {
	e, l := founded(t)
	lost := l.use(e, "standing", "lost", false).Node
	survivor := l.use(e, "standing", "survivor", true).Node
	recover := func(id raft.ID, epoch string) {
		t.Helper()
		l.command(&commandpb.Command{Body: &commandpb.Command_Recover{Recover: &commandpb.Recover{Epoch: epoch,
			Survivor: &commandpb.Member{Id: uint64(id), Name: "s", Address: "s:1", PublicKey: []byte("survivor")}}}})
		if r := l.apply(e)[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		if m := e.Members(); len(m) != 1 || m[0].ID != id || m[0].Learner || m[0].Address != "s:1" || e.Epoch() != epoch {
			t.Fatalf("epoch %q, members %v", e.Epoch(), m)
		}
	}
	recover(survivor, "1-0123456789abcdef")
	if r := l.use(e, "standing", "lost", false); !errors.Is(r.Err, ErrMemberRemoved) {
		t.Errorf("node %d joins again with its key: %v", lost, r.Err)
	}
	recover(survivor, "2-0123456789abcdef")
	l.command(&commandpb.Command{Body: &commandpb.Command_ChangeSettings{ChangeSettings: &commandpb.ChangeSettings{
		Settings: map[string]string{epochRow: ""}}}})
	if r := l.apply(e)[0]; r.Err == nil {
		t.Error("the epoch was set like a setting")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openEngine(t, Config{Dir: e.config.Dir})
	if _, isSetting := e.Settings()[epochRow]; isSetting || e.Epoch() != "2-0123456789abcdef" {
		t.Errorf("after a restart the epoch is %q and the settings are %v", e.Epoch(), e.Settings())
	}
}

// The time of entries never goes back, so that neither a clock that steps back nor an old entry does.
func TestTimeNeverGoesBack(t *testing.T) {
	e, l := founded(t)
	l.must(e, "create table t(at)")
	l.must(e, "insert into t values(unixepoch('now'))")
	newest := e.LastTime()
	l.command(&commandpb.Command{Time: 5, Body: &commandpb.Command_Script{Script: &commandpb.Script{
		Statements: []*commandpb.Statement{{Sql: "insert into t values(unixepoch('now'))"}}}}})
	l.apply(e)
	if got := rowsOf(t, e, "select count(distinct at), count(*) from t"); got != "1|2" || e.LastTime() != newest {
		t.Errorf("rows %s, time %d, want %d", got, e.LastTime(), newest)
	}
}

// The time of an entry counts for those after it also when the entry failed, or undid its whole transaction.
func TestTimeOfFailedEntries(t *testing.T) {
	for _, failing := range []string{"insert into absent values(1)", "insert or rollback into t values(1), (1)"} {
		e, l := founded(t)
		l.must(e, "create table t(at unique)")
		l.run(e, failing)
		newest := l.time
		if e.LastTime() != newest {
			t.Errorf("after %q the time is %d, want %d", failing, e.LastTime(), newest)
		}
		l.time -= 10_000_000_000
		if l.must(e, "insert into t values(unixepoch('now'))"); e.LastTime() != newest {
			t.Errorf("after %q the time went back to %d from %d", failing, e.LastTime(), newest)
		}
	}
}
