package db

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

// testStage is a stage with an engine that has applied nothing.
func testStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	e, err := engine.Open(engine.Config{Dir: filepath.Join(dir, "db"), StageDir: filepath.Join(dir, stageDir), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := openStage(filepath.Join(dir, stageDir), e)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fileOf names a content.
func fileOf(content string) restoreFile {
	return restoreFile{sha256.Sum256([]byte(content)), int64(len(content))}
}

// aged makes a file that nobody has touched for so long.
func aged(t *testing.T, path, content string, age time.Duration) {
	t.Helper()
	at := time.Now().Add(-age)
	if err := errors.Join(os.WriteFile(path, []byte(content), 0o600), os.Chtimes(path, at, at)); err != nil {
		t.Fatal(err)
	}
}

// A file stays as long as the log holds its entry, and until this node has applied it; one without an entry stays for a day, and
// longer on a node that is not settled; a part of one for a day.
func TestSweep(t *testing.T) {
	const day, hour = 25 * time.Hour, time.Hour
	for _, test := range []struct {
		what    string
		partial bool
		index   string // of its entry; empty: none
		age     time.Duration
		first   raft.Index // of the log
		settled bool
		gone    bool
	}{
		{"no entry, young", false, "", hour, 100, true, false},
		{"no entry, old", false, "", day, 100, true, true},
		{"no entry, old, not settled", false, "", day, 100, false, false},
		{"a log that begins at its entry", false, "0", day, 0, true, false},
		{"a log that begins after its entry", false, "0", hour, 1, false, true},
		{"an entry that is not applied", false, "7", day, 100, true, false},
		{"an entry that a crash cut short", false, "", day, 100, true, true},
		{"part, young", true, "", hour, 100, true, false},
		{"part, old", true, "", day, 100, false, true},
	} {
		s, f := testStage(t), fileOf(test.what)
		path := s.engine.Staged(f.sum)
		if test.partial {
			path = s.partial(f)
		}
		aged(t, path, test.what, test.age)
		if test.index != "" {
			if err := os.WriteFile(path+".index", []byte(test.index), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.sweep(time.Now(), test.first, test.settled); err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
		left, _ := filepath.Glob(filepath.Join(s.dir, "*"))
		if gone := len(left) == 0; gone != test.gone {
			t.Errorf("%s: gone %t, want %t: %v", test.what, gone, test.gone, left)
		}
	}
}

// A file that somebody uses is not swept, and one that is about to be used again is kept for its next entry.
func TestSweepLeavesWhatIsUsed(t *testing.T) {
	s, f := testStage(t), fileOf("content")
	aged(t, s.engine.Staged(f.sum), "content", 25*time.Hour)
	if err := os.WriteFile(s.engine.Staged(f.sum)+".index", []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	release, err := s.claim(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(time.Now(), 100, true); err != nil {
		t.Error(err)
	}
	if whole, err := s.whole(f); err != nil || !whole { // as a leader that asks for it does
		t.Fatalf("it was swept under a claim: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errClosing)
	if _, err := s.claim(ended, f); !errors.Is(err, errClosing) {
		t.Errorf("a second claim: %v", err)
	}
	release()
	if err := s.sweep(time.Now(), 100, true); err != nil {
		t.Error(err)
	}
	if whole, err := s.whole(f); err != nil || !whole {
		t.Errorf("it was swept though it is kept for another entry: %v", err)
	}
}

// A node waits for a file without asking for a snapshot, unless no member has it; its readiness says why.
func TestAwaitsFile(t *testing.T) {
	missing := fmt.Errorf("applying: %w", &engine.NotStagedError{Size: 5})
	r := new(restores)
	if !r.awaitsFile(missing) || r.awaitsFile(errors.New("the disk")) || r.explain(missing) != missing {
		t.Error("it waits for nothing else than the file")
	}
	n := &Node{log: slog.New(slog.DiscardHandler)}
	r.couldNot(errors.New("node 3 is gone"), n)
	if got := fmt.Sprint(r.explain(missing)); !r.awaitsFile(missing) || got != missing.Error()+": node 3 is gone" {
		t.Errorf("it waits for one that will come back; it says %q", got)
	}
	r.couldNot(errors.Join(errNobody, errors.New("node 3 has none")), n)
	if r.awaitsFile(missing) {
		t.Error("it waits for what nobody has")
	}
}

// A majority is that of the voters, and of both groups while they change; learners do not count.
func TestSpreadingMajority(t *testing.T) {
	for _, test := range []struct {
		voters, outgoing, have []raft.ID
		want                   bool
	}{
		{[]raft.ID{1}, nil, nil, true},
		{[]raft.ID{1, 2, 3}, nil, nil, false},
		{[]raft.ID{1, 2, 3}, nil, []raft.ID{2}, true},
		{[]raft.ID{1, 2, 3}, nil, []raft.ID{9}, false},
		{[]raft.ID{1, 2}, nil, nil, false},
		{[]raft.ID{1, 2, 3}, []raft.ID{1, 4, 5}, []raft.ID{2, 3}, false},
		{[]raft.ID{1, 2, 3}, []raft.ID{1, 4, 5}, []raft.ID{2, 4}, true},
	} {
		s := newSpreading(1, raft.Configuration{Voters: test.voters, Outgoing: test.outgoing, Learners: []raft.ID{9}})
		for _, id := range test.have {
			s.take(spreadAnswer{from: id})
		}
		if got := s.majority(); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
	}
}

// What names a file is 64 hexadecimal digits and a size; nothing else is taken.
func FuzzParseRestoreFile(f *testing.F) {
	f.Add(fileOf("x").args()[0], "1")
	f.Add("../../etc/passwd", "1")
	f.Add("", "")
	f.Add(fileOf("x").args()[0], "9223372036854775808")
	f.Fuzz(func(t *testing.T, sum, size string) {
		got, failed := parseRestoreFile(sum, size)
		if failed != nil {
			return
		}
		again, failed := parseRestoreFile(got.args()[0], got.args()[1])
		if failed != nil || again != got || got.size <= 0 {
			t.Errorf("%q, %q is %v, and then %v, %v", sum, size, got, again, failed)
		}
	})
}
