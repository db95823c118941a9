package db

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
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
	q := quarantine{Index: 1, Mine: "0a", Others: "0b", Sound: []raft.ID{2, 3}, Generation: "1"}
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
	n.recallQuarantine()
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

// A note that cannot be read quarantines all the same, whatever is wrong with it, and says so; every voter that is not
// quarantined itself may end that. One that was cut off while it was written is none.
func TestUnreadableNote(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"torn":      func(file string) error { return os.WriteFile(file, []byte(`{"ind`), 0o600) },
		"empty":     func(file string) error { return os.WriteFile(file, nil, 0o600) },
		"no reason": func(file string) error { return os.WriteFile(file, []byte("{}"), 0o600) },
		"zeroes":    func(file string) error { return os.WriteFile(file, make([]byte, 100), 0o600) },
		"no file":   func(file string) error { return os.Mkdir(file, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			n := noteNode(t, t.TempDir())
			if err := spoil(n.dir.file(quarantineName)); err != nil {
				t.Fatal(err)
			}
			n.recallQuarantine()
			var q quarantine
			if err := n.engine.Quarantined(); !errors.As(err, &q) || !strings.Contains(err.Error(), "cannot be read") {
				t.Fatalf("quarantined: %v", err)
			}
			if donors := q.donors([]raft.ID{1, 2, 3}); len(donors) != 3 {
				t.Errorf("donors %v", donors)
			}
			replaceDatabase(t, n, empty(1))
			if !n.forgetQuarantine() || n.hasNote(t) {
				t.Error("a snapshot has not ended it")
			}
		})
	}
	n := noteNode(t, t.TempDir())
	if err := os.WriteFile(n.dir.file(quarantineName+".new"), []byte(`{"ind`), 0o600); err != nil {
		t.Fatal(err)
	}
	n.recallQuarantine()
	if err := n.engine.Quarantined(); err != nil {
		t.Error(err)
	}
}

// replaceDatabase installs a snapshot of another node, which has applied some entries.
func replaceDatabase(t *testing.T, n *Node, entries ...raft.Entry) {
	t.Helper()
	source := noteNode(t, t.TempDir())
	apply(t, source, entries...)
	image, err := source.engine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.engine.Restore(image.Meta(), image), image.Close()); err != nil {
		t.Fatal(err)
	}
}

// stuck is the content of a snapshot that does not come until free is closed, and then is none.
type stuck struct {
	asked sync.Once
	// began is closed when the content is asked for.
	began, free chan struct{}
}

func (s *stuck) ReadAt([]byte, int64) (int, error) {
	s.asked.Do(func() { close(s.began) })
	<-s.free
	return 0, errors.New("there is no more of it")
}

// The end of one quarantine does not take the note of the next one with it: a healer that looks while the database is found
// to differ, and could still see it sound, leaves the new note where it is.
func TestNewQuarantineKeepsItsNote(t *testing.T) {
	n := noteNode(t, t.TempDir())
	apply(t, n, empty(1))
	for round := range 5 {
		if !n.noteQuarantine(n.engine.Chain(), quarantine{Index: 1, Mine: "0a"}) {
			t.Fatal("the database is not quarantined")
		}
		replaceDatabase(t, n, empty(1), empty(2), empty(3)) // nobody has looked: the note of before is there
		chain := n.engine.Chain()
		content := &stuck{began: make(chan struct{}), free: make(chan struct{})}
		var all sync.WaitGroup
		all.Go(func() { // keeps the engine from learning of the quarantine
			if err := n.engine.Restore(raft.SnapshotMeta{Size: 1}, content); err == nil {
				t.Error("a snapshot without content was installed")
			}
		})
		<-content.began
		all.Go(func() {
			if !n.noteQuarantine(chain, quarantine{Index: chain.Index, Mine: hexChain(chain.Hash)}) {
				t.Error("the new database is not quarantined")
			}
		})
		for n.noted.mu.TryLock() { // until the note is about to be written
			n.noted.mu.Unlock()
			runtime.Gosched()
		}
		looking := make(chan struct{})
		all.Go(func() {
			close(looking)
			n.forgetQuarantine()
		})
		<-looking
		for range 100 { // it looks now, or later: both are right
			runtime.Gosched()
		}
		close(content.free)
		all.Wait()
		if n.engine.Quarantined() == nil || !n.hasNote(t) {
			t.Fatalf("round %d: quarantined: %v; the note is there: %v", round, n.engine.Quarantined(), n.hasNote(t))
		}
		replaceDatabase(t, n, empty(1))
		if !n.forgetQuarantine() || n.hasNote(t) {
			t.Fatalf("round %d: the note of a quarantine that is over is there", round)
		}
	}
}

// A node that ended after a snapshot had replaced its database, and before that was noted, is not quarantined when it starts.
func TestNoteOfAReplacedDatabase(t *testing.T) {
	path := t.TempDir()
	t.Run("first run", func(t *testing.T) {
		n := noteNode(t, path)
		apply(t, n, empty(1))
		if !n.noteQuarantine(n.engine.Chain(), quarantine{Index: 1, Mine: "0a"}) {
			t.Fatal("the database is not quarantined")
		}
		replaceDatabase(t, n, empty(1), empty(2))
	})
	n := noteNode(t, path)
	if !n.hasNote(t) {
		t.Fatal("the note is gone before anybody looked")
	}
	n.recallQuarantine()
	if err := n.engine.Quarantined(); err != nil || n.hasNote(t) {
		t.Errorf("quarantined: %v; the note is there: %v", err, n.hasNote(t))
	}
}

// A copy whose note cannot be read counts as quarantined for a recovery, and one whose note is that of a database which a
// snapshot has replaced does not.
func TestSurveyOfQuarantined(t *testing.T) {
	dir := founderDirectory(t)
	for note, want := range map[string]string{
		`{"index":1,"mine":"0a","others":"0b","generation":"1"}`: "that of a majority", `{"index":1,"mine":"0a","others":"0b"}`: "that of a majority",
		`{"ind`: "cannot be read", `{"index":1,"mine":"0a","others":"0b","generation":"7"}`: "",
	} {
		if err := os.WriteFile(filepath.Join(dir, quarantineName), []byte(note), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Survey(dir)
		if err != nil {
			t.Fatal(err)
		}
		if (c.Quarantined != nil) != (want != "") || want != "" && !strings.Contains(c.Quarantined.Error(), want) {
			t.Errorf("%s: quarantined: %v", note, c.Quarantined)
		}
	}
}

// Whatever a note holds, it is read without harm, and one that is taken says at least what was found where.
func FuzzParseQuarantine(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"ind`, "null", `[1]`, `{"index":-1,"mine":"a"}`, `{"index":1e99,"mine":"a"}`,
		`{"index":7,"mine":"0a","others":"0b","sound":[2,3],"generation":"4"}`, `{"index":7,"mine":"0a"} x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		q, err := parseQuarantine(text)
		if err != nil {
			if !reflect.DeepEqual(q, quarantine{}) {
				t.Errorf("%q is refused (%v) and read as %+v", text, err, q)
			}
			return
		}
		if q.Index == 0 || q.Mine == "" {
			t.Errorf("%q is read as %+v", text, q)
		}
		written, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		same, err := parseQuarantine(written)
		again, failed := json.Marshal(same)
		if err := errors.Join(err, failed); err != nil || string(again) != string(written) {
			t.Errorf("%+v was written as %s and read as %+v: %v", q, written, same, err)
		}
	})
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
		{quarantine{unread: errors.New("torn")}, voters},
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
