package sim

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// shadow is what a node's log has to be by the writes that were made: the entries after base, as hashes of content.
type shadow struct {
	hard    raft.HardState
	base    raft.EntryID
	entries []shadowEntry
	// configurations are those in the entries, by index, after the one as of the base.
	configurations []raft.ConfigurationAt
	// repaired says that hard is not known: a repair has decided what it is.
	repaired bool
}

// shadowEntry is one entry: its id and the hash of what it holds.
type shadowEntry struct {
	id   raft.EntryID
	hash uint64
}

func (s *shadow) last() raft.EntryID {
	if len(s.entries) == 0 {
		return s.base
	}
	return s.entries[len(s.entries)-1].id
}

// at returns the entry at an index, if the log holds it.
func (s *shadow) at(index raft.Index) (shadowEntry, bool) {
	if index <= s.base.Index || index > s.last().Index {
		return shadowEntry{}, false
	}
	return s.entries[index-s.base.Index-1], true
}

// holds reports whether the log holds this very entry, or what it stands for is behind its base.
func (s *shadow) holds(id raft.EntryID) bool {
	e, found := s.at(id.Index)
	return found && e.id == id || id.Index <= s.base.Index
}

// configuration returns the one that counts.
func (s *shadow) configuration() raft.ConfigurationAt {
	if len(s.configurations) == 0 {
		return raft.ConfigurationAt{}
	}
	return s.configurations[len(s.configurations)-1]
}

// apply makes a write.
func (s *shadow) apply(w *World, write *raft.Write) {
	s.hard = write.HardState
	if base := write.Snapshot; base != nil && !s.holds(base.Applied) {
		s.base, s.entries = base.Applied, nil
		s.configurations = []raft.ConfigurationAt{{Index: base.ConfigurationIndex, Configuration: base.Configuration}}
	}
	if from := write.TruncateFrom; from > s.base.Index && from <= s.last().Index {
		s.entries = s.entries[:from-s.base.Index-1]
		for len(s.configurations) > 0 && s.configuration().Index >= from {
			s.configurations = s.configurations[:len(s.configurations)-1]
		}
	}
	for i := range write.Entries {
		e := &write.Entries[i]
		if e.ID.Index != s.last().Index+1 {
			w.fail("contiguous-writes", "entry %v is written after %v", e.ID, s.last())
			return
		}
		s.entries = append(s.entries, shadowEntry{e.ID, mixEntry(0, e)})
		if e.Kind == raft.EntryConfiguration {
			c, err := raft.DecodeConfiguration(e.Data)
			if err != nil {
				w.fail("contiguous-writes", "entry %v holds no configuration: %v", e.ID, err)
			}
			s.configurations = append(s.configurations, raft.ConfigurationAt{Index: e.ID.Index, Configuration: c})
		}
	}
}

// rebase lets the log begin after base and end at last.
func (s *shadow) rebase(base, last raft.EntryID) {
	var kept []shadowEntry
	for _, e := range s.entries {
		if e.id.Index > base.Index && e.id.Index <= last.Index {
			kept = append(kept, e)
		}
	}
	s.base, s.entries = base, kept
	for len(s.configurations) > 0 && s.configuration().Index > max(base.Index, last.Index) {
		s.configurations = s.configurations[:len(s.configurations)-1]
	}
}

// clone returns a copy that may change.
func (s *shadow) clone() shadow {
	c := *s
	c.entries = append([]shadowEntry(nil), s.entries...)
	c.configurations = append([]raft.ConfigurationAt(nil), s.configurations...)
	return c
}

// differs says how a recovered log is another one than s, "" if it is not.
func (s *shadow) differs(hard raft.HardState, log *raft.Log) string {
	switch {
	case hard != s.hard:
		return fmt.Sprintf("hard state is %+v, written was %+v", hard, s.hard)
	case log.Last != s.last():
		return fmt.Sprintf("log ends at %v, written was up to %v", log.Last, s.last())
	}
	for i, run := range log.Runs {
		end := log.Last.Index
		if i+1 < len(log.Runs) {
			end = log.Runs[i+1].First - 1
		}
		for index := run.First; index <= end; index++ {
			if e, found := s.at(index); found && e.id.Term != run.Term {
				return fmt.Sprintf("entry %d is of term %d, written was %v", index, run.Term, e.id)
			}
		}
	}
	for i := range log.Tail {
		if e, found := s.at(log.Tail[i].ID.Index); found && e.hash != mixEntry(0, &log.Tail[i]) {
			return fmt.Sprintf("entry %v has another content than was written", e.id)
		}
	}
	return ""
}

// promises are what a node has told others, which its disk must remember.
type promises struct {
	term  raft.Term
	votes map[raft.Term]raft.ID
	acked raft.EntryID
}
