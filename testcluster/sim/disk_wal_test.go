package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// wrap stands between a log and its disk.
type wrap func(wal.Files) wal.Files

func honest(files wal.Files) wal.Files { return files }

// options are those of a log whose own work is put into steps.
func (between wrap) options(d *Disk, steps *[]func()) wal.Options {
	return wal.Options{
		Files: between(d.Mount()), Dir: "/wal", Node: 1, SegmentSize: wal.MinSegmentSize, CacheBytes: 2 << 10, Seed: 3,
		Schedule: func(_ time.Duration, do func()) { *steps = append(*steps, do) },
	}
}

// logStory is what was acknowledged of a log, and what is there if the write under way is.
type logStory struct {
	between       wrap
	steps         []func() // of the log's own work, not done yet
	created       bool
	before, after logState
}

type logState struct {
	hard    raft.HardState
	entries []raft.Entry
	through raft.Index // compacted, at most
}

// write returns the next write of a random log, and the state after it.
func (s logState) write(chance *rand.Rand) (*raft.Write, logState) {
	w := &raft.Write{HardState: raft.HardState{Term: max(s.hard.Term, 1), Vote: raft.ID(chance.IntN(9))}}
	entries := slices.Clip(s.entries)
	if last := raft.Index(len(entries)); last > s.through && chance.IntN(6) == 0 {
		w.TruncateFrom = s.through + 1 + raft.Index(chance.IntN(int(last-s.through)))
		entries = slices.Clip(entries[:w.TruncateFrom-1])
		w.HardState.Term++
	}
	for range chance.IntN(4) {
		id := raft.EntryID{Term: w.HardState.Term, Index: raft.Index(len(entries) + 1)}
		entries = append(entries, raft.Entry{ID: id, Data: filled(chance.IntN(900), byte(chance.Uint32()))})
	}
	first := len(s.entries)
	if w.TruncateFrom > 0 {
		first = int(w.TruncateFrom) - 1
	}
	w.Entries = entries[first:]
	return w, logState{w.HardState, entries, s.through}
}

// differs reports how a log differs from the state.
func (s logState) differs(w *wal.WAL, r *wal.Recovered) error {
	if r.HardState != s.hard || int(r.Log.Last.Index) != len(s.entries) {
		return fmt.Errorf("the log has %+v up to %d, want %+v up to %d", r.HardState, r.Log.Last.Index, s.hard, len(s.entries))
	}
	first, _ := w.Bounds()
	if first > s.through+1 {
		return fmt.Errorf("the log begins at %d and was compacted up to %d at most", first, s.through)
	}
	for i, want := range s.entries[first-1:] {
		index := first + raft.Index(i)
		got, err := w.Entries(index, index, 1)
		if err != nil || got[0].ID != want.ID || string(got[0].Data) != string(want.Data) {
			return fmt.Errorf("entry %s is %v (%w)", want.ID, got, err)
		}
	}
	return nil
}

// live makes a log and lets it live until the disk says that the process is dead, or for some steps.
func (s *logStory) live(d *Disk, seed uint64) error {
	chance := rand.New(rand.NewPCG(seed, 2))
	w, err := wal.Create(s.between.options(d, &s.steps))
	for range 40 {
		if err != nil {
			return err
		}
		s.created = true
		switch n := chance.IntN(10); {
		case n < 7:
			var write *raft.Write
			write, s.after = s.before.write(chance)
			if err = w.Append(write); err == nil {
				s.before = s.after
			}
		case n < 8:
			err = w.Mark()
		case n < 9:
			s.before.through += raft.Index(chance.IntN(len(s.before.entries) - int(s.before.through) + 1))
			s.after = s.before
			if err = w.Compact(s.before.through); err == nil {
				err = s.work(d)
			}
		default:
			if err = w.Close(); err == nil {
				w, _, err = wal.Open(s.between.options(d, &s.steps))
			}
		}
	}
	return err
}

// work does the log's own work. It fails where the process dies within it.
func (s *logStory) work(d *Disk) error {
	due := s.steps
	s.steps = nil // a step may ask for the next one
	for _, step := range due {
		step()
	}
	if d.Dead() {
		return ErrCrashed
	}
	return nil
}

// recovered opens the log after a crash and returns which of the two states it is in.
func (s *logStory) recovered(d *Disk) (logState, error) {
	w, r, err := wal.Open(s.between.options(d, &s.steps))
	if err != nil && !s.created {
		// There may be no log yet; then one can be made.
		w, err = wal.Create(s.between.options(d, &s.steps))
	}
	if err != nil {
		return logState{}, err
	}
	if err = s.before.differs(w, &r); err == nil {
		return s.before, w.Close()
	}
	if other := s.after.differs(w, &r); other != nil {
		return logState{}, fmt.Errorf("neither without the last write (%w) nor with it (%w)", err, other)
	}
	return s.after, w.Close()
}

// crashEverywhere lets a log die before and within each operation. It returns the first loss of something that was
// acknowledged, and how many crashes there were.
func crashEverywhere(seeds uint64, faults Faults, between wrap) (crashes int, err error) {
	for seed := range seeds {
		whole := NewDisk(seed)
		if err := (&logStory{between: between}).live(whole, seed); err != nil {
			return crashes, fmt.Errorf("seed %d: the disk is whole and the log says: %w", seed, err)
		}
		for k := range 2 * int(whole.Operations()) {
			if err := crashAt(seed, k, faults, between); err != nil {
				return crashes, fmt.Errorf("seed %d, crash %d: %w", seed, k, err)
			}
			crashes++
		}
	}
	return crashes, nil
}

func crashAt(seed uint64, k int, faults Faults, between wrap) error {
	d := NewDisk(seed<<32 | uint64(k))
	d.SetFaults(faults)
	d.DieAfter(k/2, k%2 == 1)
	s := logStory{between: between}
	if err := s.live(d, seed); err != nil && !errors.Is(err, ErrCrashed) && !errors.Is(err, ErrIO) {
		return err
	}
	d.SetFaults(Faults{Flip: faults.Flip})
	if k%5 == 0 {
		d.Kill()
	} else {
		d.Crash()
	}
	state, err := s.recovered(d)
	if err != nil {
		return err
	}
	// What the next process was told has to survive as well.
	d.Crash()
	s = logStory{between: between, created: true, before: state, after: state}
	_, err = s.recovered(d)
	return err
}

// TestLogSurvives proves: the real log, killed or without power before and within any operation or after one that has
// failed, has everything that it acknowledged, and its last write whole or not at all.
func TestLogSurvives(t *testing.T) {
	for _, faults := range []Faults{{Flip: 0.1}, {Read: 0.02, Write: 0.02, Sync: 0.1, Drop: 0.7}} {
		crashes, err := crashEverywhere(4, faults, honest)
		if err != nil {
			t.Fatalf("with faults %+v: %v", faults, err)
		}
		if crashes < 500 {
			t.Errorf("only %d crashes", crashes)
		}
	}
}

// forgetful is a disk some of whose syncs do nothing, as if the log had not asked for them.
type forgetful struct {
	wal.Files
	directories bool
	// files are those whose syncs do nothing.
	files string
}

func (f forgetful) SyncDir(dir string) error {
	if f.directories {
		return nil
	}
	return f.Files.SyncDir(dir)
}

func (f forgetful) Open(name string, flag int) (wal.File, error) {
	file, err := f.Files.Open(name, flag)
	if err != nil || f.files == "" || !strings.Contains(name, f.files) {
		return file, err
	}
	return forgetfulFile{file}, nil
}

type forgetfulFile struct{ wal.File }

func (forgetfulFile) Sync() error { return nil }

// TestMissingSyncShows proves: a log that leaves out a sync of its records, of what a new segment is made of, or of its
// directory, loses something.
func TestMissingSyncShows(t *testing.T) {
	for _, f := range []forgetful{{directories: true}, {files: ".wal"}, {files: ".part"}} {
		_, err := crashEverywhere(20, Faults{}, func(files wal.Files) wal.Files {
			f.Files = files
			return f
		})
		if err == nil {
			t.Errorf("nothing was lost without these syncs: directories %v, files %q", f.directories, f.files)
		}
	}
}
