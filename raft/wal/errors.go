package wal

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// CorruptionError says that bytes that were durable once are damaged. Open returns it instead of the log: a node that
// forgets what it acknowledged, or a vote, could help to elect a leader that lacks it. Repair makes a log of what is
// left. Entries returns it for entries that rotted while the log was open.
type CorruptionError struct {
	// Segment is the file's name, Offset the byte in it where the first damaged record, or the header, begins.
	Segment string
	Offset  int64
	// First is the index that would follow what is before the damage, and Last the last one known to be behind or in
	// it; 0: not known. A damaged record that truncated the log may have concerned entries before First as well.
	First, Last raft.Index
	// Err is the cause, if there is more to say: errors.Unwrap gives it.
	Err error
}

func (e *CorruptionError) Error() string {
	until := "on"
	if e.Last >= e.First && e.Last != 0 {
		until = fmt.Sprintf("to %d", e.Last)
	}
	cause := ""
	if e.Err != nil {
		cause = " (" + e.Err.Error() + ")"
	}
	return fmt.Sprintf("the log is damaged: %s at offset %d%s, entries from %d %s",
		e.Segment, e.Offset, cause, e.First, until)
}

// Unwrap returns Err.
func (e *CorruptionError) Unwrap() error { return e.Err }
