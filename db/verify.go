package db

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	// verifyPatience is how long a member may do nothing for a verification before it is given up: apply no entry on its
	// way to the one that asks for the hash, hash no row, not answer. A member that gets on may take its time.
	verifyPatience = 30 * time.Second
	// verifyTurn is how long a member waits for its outcome before it says how far it has come.
	verifyTurn = time.Second
	// verifyRetry is the pause between two questions to a member.
	verifyRetry = 50 * time.Millisecond
)

// What the column state says of a member's content.
const (
	stateEqual   = "equal"   // it is that of most
	stateDiffers = "differs" // it is not
)

// verify is the verb that has every member hash its content at one entry, and shows the hashes. It runs on the leader.
func (s *session) verify(ctx context.Context, term raft.Term, _ []string) (*table, *Error) {
	var id [8]byte
	hexID := fmt.Sprintf("%016x", rand.Uint64()|1)
	if _, err := hex.Decode(id[:], []byte(hexID)); err != nil {
		return nil, protocolError("%v", err)
	}
	n := s.node
	entry := &commandpb.Command{Body: &commandpb.Command_Verify{Verify: &commandpb.Verify{Id: id[:]}}}
	result, failed := n.propose(ctx, term, entry)
	if failed != nil {
		return nil, failed
	}
	members := n.members()
	columns := []string{"id", "name", "index", "hash", "rows", "seconds", "state"}
	t := &table{columns: columns, rows: make([][]any, len(members))}
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() {
			h := awaitHash(ctx, func(ctx context.Context) (hashing, *Error) { return n.askHash(ctx, m.ID, hexID, result.Index) })
			row := []any{int64(m.ID), m.Name, int64(result.Index), nil, nil, nil, nil}
			if h.why != "" {
				row[6] = h.why
			} else {
				row[3], row[4], row[5] = h.hash, h.rows, h.seconds
			}
			t.rows[i] = row
		})
	}
	asking.Wait()
	judgeHashes(t.rows)
	return t, nil
}

// judgeHashes fills in the states of those that have a hash.
func judgeHashes(rows [][]any) {
	counts := make(map[any]int)
	most := 0
	for _, row := range rows {
		if row[3] != nil {
			counts[row[3]]++
			most = max(most, counts[row[3]])
		}
	}
	leading := 0 // hashes that most have
	for _, count := range counts {
		if count == most {
			leading++
		}
	}
	for _, row := range rows {
		switch {
		case row[3] == nil:
		case counts[row[3]] == most && leading == 1:
			row[6] = stateEqual
		default:
			row[6] = stateDiffers
		}
	}
}

// hashing is how far a member has come with a verification.
type hashing struct {
	// hash is the outcome in hexadecimal digits, empty while there is none.
	hash string
	// rows are those hashed so far, -1 before the entry is applied. applied is the newest entry that is.
	rows, applied int64
	seconds       float64
	// why says why there will be no hash.
	why string
}

// ahead reports whether a member has come further than it had.
func (h hashing) ahead(before hashing) bool {
	return h.rows > before.rows || h.rows < 0 && h.applied > before.applied
}

func (h hashing) String() string {
	if h.rows < 0 {
		return fmt.Sprintf("it has applied index %d", h.applied)
	}
	return fmt.Sprintf("it has hashed %d rows", h.rows)
}

// awaitHash asks a member until it has a hash or will have none. It ends when the member has done nothing for verifyPatience.
func awaitHash(ctx context.Context, ask func(context.Context) (hashing, *Error)) hashing {
	last := hashing{rows: -1, applied: -1}
	for since := time.Now(); ; {
		asking, cancel := context.WithDeadline(ctx, since.Add(verifyPatience))
		h, failed := ask(asking)
		silent := asking.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case failed != nil && silent && last.applied < 0:
			return hashing{why: fmt.Sprintf("it has not answered for %v", verifyPatience)}
		case failed != nil && silent, failed == nil && !h.ended() && !h.ahead(last) && time.Since(since) >= verifyPatience:
			return hashing{why: fmt.Sprintf("%v, and has not got on for %v", last, verifyPatience)}
		case failed != nil:
			return hashing{why: failed.Error()}
		case h.ended():
			return h
		case h.ahead(last):
			last, since = h, time.Now()
		}
		if _, ended := pause(ctx, verifyRetry, nil); ended != nil {
			return hashing{why: ended.Error()}
		}
	}
}

func (h hashing) ended() bool { return h.hash != "" || h.why != "" }

// askHash asks one member how far it has come.
func (n *Node) askHash(ctx context.Context, id raft.ID, hexID string, index raft.Index) (hashing, *Error) {
	if id == n.self.Node {
		return n.hashing(ctx, hexID, index)
	}
	if !n.endpoint.Connected(id) {
		return hashing{why: "it is not connected"}, nil
	}
	rows, failed := n.ask(ctx, id, "verified", hexID, strconv.FormatUint(uint64(index), 10))
	if failed != nil {
		n.log.Warn("a member was not asked for its hash", "node", n.self.Node, "peer", id, "err", failed)
		switch failed.Class {
		case sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Class_CLASS_OUTCOME_UNKNOWN: // as requests of clients are told of it
			return hashing{}, &Error{Class: failed.Class, Message: "the connection with it was lost"}
		}
		return hashing{}, failed
	}
	if len(rows) == 1 {
		if h, ok := hashingOf(rows[0]); ok {
			return h, nil
		}
	}
	return hashing{}, protocolError("it answers with something else than how far it is")
}

// row is h as one member tells another.
func (h hashing) row() []any { return []any{h.hash, h.rows, h.applied, h.seconds, h.why} }

func hashingOf(row []any) (h hashing, ok bool) {
	if len(row) != 5 {
		return h, false
	}
	var are [5]bool
	h.hash, are[0] = row[0].(string)
	h.rows, are[1] = row[1].(int64)
	h.applied, are[2] = row[2].(int64)
	h.seconds, are[3] = row[3].(float64)
	h.why, are[4] = row[4].(string)
	return h, are == [5]bool{true, true, true, true, true}
}

// verified is the verb by which the leader asks a member how far it has come.
func (s *session) verified(ctx context.Context, _ raft.Term, args []string) (*table, *Error) {
	index, err := strconv.ParseUint(args[1], 10, 63)
	if err != nil {
		return nil, protocolError("%q is no index", args[1])
	}
	h, failed := s.node.hashing(ctx, args[0], raft.Index(index))
	if failed != nil {
		return nil, failed
	}
	return &table{columns: []string{"hash", "rows", "applied", "seconds", "why"}, rows: [][]any{h.row()}}, nil
}

// hashing says how far this node has come with the verification that an entry has asked for, after verifyTurn at the latest.
func (n *Node) hashing(ctx context.Context, hexID string, index raft.Index) (hashing, *Error) {
	var id [8]byte
	if b, err := hex.DecodeString(hexID); err != nil || copy(id[:], b) != len(id) {
		return hashing{}, protocolError("%q names no verification", hexID)
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTurn)
	defer cancel()
	h := hashing{rows: -1, applied: int64(n.engine.Applied())} // before the outcome is asked for
	if why := n.engine.Quarantined(); why != nil {
		h.why = why.Error()
		return h, nil
	}
	v, err := n.engine.Verification(ctx, id)
	switch {
	case err == nil:
		h.hash, h.rows, h.seconds = hex.EncodeToString(v.Hash[:]), v.Rows, v.Took.Seconds()
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		h.rows = v.Rows
	case !errors.Is(err, engine.ErrVerificationUnknown):
		h.why = err.Error()
	case h.applied >= int64(index):
		h.why = fmt.Sprintf("it has passed index %d without a hash, by a restart or a snapshot, or has forgotten it: verify again",
			index)
	case n.replica.ApplyErr() != nil:
		h.why = fmt.Sprintf("it has applied index %d and does not go on: %v", h.applied, n.replica.ApplyErr())
	}
	return h, nil
}

// set is the verb that changes settings of the cluster, all that are named or none. An empty value is the default.
func (s *session) set(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	settings := make(map[string]string)
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, protocolError("%q is not NAME=VALUE; .status shows the settings", arg)
		}
		settings[name] = value
	}
	if err := engine.CheckSettings(settings); err != nil {
		return nil, protocolError("%v", err)
	}
	failed := s.node.proposeMember(ctx, term, &commandpb.Command{Body: &commandpb.Command_ChangeSettings{
		ChangeSettings: &commandpb.ChangeSettings{Settings: settings}}})
	if failed != nil {
		return nil, failed
	}
	t := &table{columns: []string{"setting", "value"}}
	now := s.node.engine.Settings()
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		t.rows = append(t.rows, []any{name, now[name]})
	}
	return t, nil
}
