package wal

import (
	"errors"

	"github.com/rsqld/rsqld/raft"
)

// Inspection is what the files of a log say about it, damaged or not.
type Inspection struct {
	// Cluster and Node are whose log it is.
	Cluster [16]byte
	Node    raft.ID
	// Segments are the files, by sequence.
	Segments []InspectedSegment
	// Parts are what is known of the log, from its beginning to its end: one part if it is whole. Between two of them
	// is damage, which may have cut entries of the part before.
	Parts []InspectedPart
	// Needed is the entry that the state machine must have applied for nothing to be missing: what comes after it is
	// whole up to the end of the log. In a whole log it is the one before the first.
	Needed raft.EntryID
	// HardState is the newest that is known.
	HardState raft.HardState
	// Configuration is the newest that is known; its index is zero if there is none.
	Configuration raft.ConfigurationAt
	// TornBytes is the length of a last write that was torn, of which nobody was told; Open cuts it off.
	TornBytes int64
	// Damage is the first damage, nil if there is none. EndUnknown says why the end of the log cannot be known, nil if
	// it is; Repair refuses such a log.
	Damage     *CorruptionError
	EndUnknown error
}

// InspectedSegment is one file.
type InspectedSegment struct {
	Name string
	// First and Last are the indexes of the entries in its whole records, zero if there are none. Truncated ones count.
	First, Last raft.Index
	// Records counts the whole ones, Bytes is the size of the file.
	Records int
	Bytes   int64
	// Dead says that the log begins anew after it: it is of no use, and the next Open removes it.
	Dead bool
	// Err is what is wrong with its header or its length, nil if nothing is. Damage to records is no fault of the file.
	Err error
}

// InspectedPart is a part of a log without a gap.
type InspectedPart struct {
	// Base is the entry before the first one, Last the last one.
	Base, Last raft.EntryID
	Terms      []raft.TermRun
}

// Inspect reads a log and changes nothing. The caller makes sure that nobody has it open: what is being written looks like
// damage. ErrNoLog says that there is none. Other errors are of the disk, or of files that are not of one log.
func Inspect(files Files, dir string) (i Inspection, err error) {
	o, err := Options{Files: files, Dir: dir}.withDefaults()
	if err != nil {
		return i, err
	}
	w := newWAL(o)
	w.anyNode = true
	v, err := look(w)
	defer func() { err = errors.Join(err, v.close()) }()
	if err != nil {
		return i, err
	}
	i = Inspection{
		Cluster: w.options.Cluster, Node: w.options.Node, HardState: v.tip.hard, TornBytes: v.torn,
		Damage: v.damage, EndUnknown: v.blind,
	}
	for _, s := range v.dead {
		size, err := s.file.Size()
		if err != nil {
			return i, err
		}
		i.Segments = append(i.Segments, InspectedSegment{Name: s.name, Bytes: size, Dead: true, Err: s.damage})
	}
	for _, s := range v.live {
		i.Segments = append(i.Segments, InspectedSegment{Name: s.name, First: s.first, Last: s.last, Records: s.records,
			Bytes: s.bytes, Err: s.damage})
	}
	for _, e := range v.epochs {
		i.Parts = append(i.Parts, InspectedPart{Base: e.base, Last: e.last, Terms: e.runs})
		if c := e.configuration(); c.Index > i.Configuration.Index {
			i.Configuration = c
		}
	}
	if len(v.epochs) > 0 {
		oldest := v.chain()[0]
		i.Needed = oldest.epoch.base
	}
	return i, nil
}

// OnlyVoter reports whether the node is the only voter, as far as its log tells.
func (i *Inspection) OnlyVoter() bool { return onlyVoter(i.Configuration.Configuration, i.Node) }

func onlyVoter(c raft.Configuration, id raft.ID) bool {
	return len(c.Voters) == 1 && c.Voters[0] == id && !c.Joint()
}
