package db

import (
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

// noteNode is a node with a directory and a database, and nothing else.
func noteNode(t *testing.T, path string) *Node {
	t.Helper()
	dir, err := openDirectory(path)
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{dir: dir, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if n.engine, err = engine.Open(engine.Config{Dir: dir.file("db"), Logger: n.log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.engine.Close(), n.dir.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *Node) hasNote(t *testing.T) bool {
	t.Helper()
	_, err := os.Stat(n.dir.file(quarantineName))
	return err == nil
}

// apply makes the chain of a database grow.
func apply(t *testing.T, n *Node, entries ...raft.Entry) {
	t.Helper()
	if _, err := n.engine.Apply(entries); err != nil {
		t.Fatal(err)
	}
}

func empty(index raft.Index) raft.Entry {
	return raft.Entry{ID: raft.EntryID{Index: index, Term: 1}, Kind: raft.EntryNoop}
}

// A quarantine is recalled after a restart as it was, with those who may end it, and its note stays until the database was
// replaced, however often somebody looks whether it has ended.
func TestQuarantineIsRecalled(t *testing.T) {
	path := t.TempDir()
	q := quarantine{Index: 1, Mine: "0a", Others: "0b", Sound: []raft.ID{2, 3}}
	t.Run("first run", func(t *testing.T) {
		n := noteNode(t, path)
		if n.forgetQuarantine() {
			t.Error("a quarantine has ended that has not begun")
		}
		apply(t, n, empty(1))
		if !n.noteQuarantine(n.engine.Chain(), q) || n.forgetQuarantine() || !n.hasNote(t) {
			t.Error("it is not noted")
		}
	})
	n := noteNode(t, path)
	if err := n.recallQuarantine(); err != nil {
		t.Fatal(err)
	}
	var got quarantine
	if !errors.As(n.engine.Quarantined(), &got) || !reflect.DeepEqual(got, q) {
		t.Errorf("recalled %+v, it was %+v", got, q)
	}
	if n.forgetQuarantine() || !n.hasNote(t) {
		t.Error("the note was removed, and the database is quarantined")
	}
	if _, err := n.engine.Apply([]raft.Entry{empty(2)}); !errors.Is(err, engine.ErrQuarantined) {
		t.Errorf("applying ended with %v", err)
	}
}

// What was found in a database that a snapshot has replaced since says nothing about the one that is there: its chain is
// another one, or is not known.
func TestQuarantineOfAReplacedDatabase(t *testing.T) {
	n := noteNode(t, t.TempDir())
	apply(t, n, empty(1), empty(2))
	for _, found := range []engine.Chain{{Index: 2, Hash: n.engine.Chain().Hash + 1}, {Index: 3, Hash: 1}} {
		if n.noteQuarantine(found, quarantine{Index: found.Index}) || n.engine.Quarantined() != nil || n.hasNote(t) {
			t.Errorf("quarantined for %+v, the chain is %+v", found, n.engine.Chain())
		}
	}
	before, _ := n.engine.ChainAt(1)
	if !n.noteQuarantine(before, quarantine{Index: 1}) {
		t.Error("an earlier chain of this database is not taken")
	}
}

// A note that cannot be read stops the start and says what to do: a node does not serve what may be wrong. One that was
// cut off while it was written is none.
func TestDamagedNote(t *testing.T) {
	n := noteNode(t, t.TempDir())
	if err := os.WriteFile(n.dir.file(quarantineName+".new"), []byte(`{"ind`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.recallQuarantine(); err != nil || n.engine.Quarantined() != nil {
		t.Errorf("%v, %v", err, n.engine.Quarantined())
	}
	if err := os.WriteFile(n.dir.file(quarantineName), []byte(`{"ind`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.recallQuarantine(); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("%v", err)
	}
}

// Only those who had the majority's chain replace a quarantined database; all voters where none of them is left, and
// nobody where there was no majority.
func TestDonors(t *testing.T) {
	voters := []raft.ID{1, 2, 3, 4, 5}
	for _, test := range []struct {
		q    quarantine
		want []raft.ID
	}{
		{quarantine{Others: "0b", Sound: []raft.ID{2, 4, 9}}, []raft.ID{2, 4}},
		{quarantine{Others: "0b", Sound: []raft.ID{8, 9}}, voters},
		{quarantine{Others: "0b"}, voters},
		{quarantine{}, nil},
	} {
		if got := test.q.donors(voters); !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v instead of %v", test.q, got, test.want)
		}
	}
	if !slices.Equal(voters, []raft.ID{1, 2, 3, 4, 5}) {
		t.Errorf("the voters have become %v", voters)
	}
}
