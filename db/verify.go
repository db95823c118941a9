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
)

// verifyRetry is the pause between two questions to a member that has not come to the entry yet.
const verifyRetry = 50 * time.Millisecond

// verifyLag is how long a member may take to come to the entry. The hashing itself takes the time that it takes.
const verifyLag = time.Minute

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
	result, failed := n.propose(ctx, term, &commandpb.Command{Body: &commandpb.Command_Verify{Verify: &commandpb.Verify{Id: id[:]}}})
	if failed != nil {
		return nil, failed
	}
	members := n.members()
	t := &table{columns: []string{"id", "name", "index", "hash", "rows", "seconds", "state"}, rows: make([][]any, len(members))}
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() {
			row := []any{int64(m.ID), m.Name, int64(result.Index), nil, nil, nil, nil}
			if answer, why := n.askVerified(ctx, m.ID, hexID, result.Index); why != nil {
				row[6] = why.Error()
			} else {
				copy(row[3:6], answer)
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

// askVerified asks one member for the outcome until it has come so far: hash, rows and seconds.
func (n *Node) askVerified(ctx context.Context, id raft.ID, hexID string, index raft.Index) ([]any, *Error) {
	for begun := time.Now(); ; {
		var (
			rows   [][]any
			failed *Error
		)
		if id == n.self.Node {
			var t *table
			if t, failed = n.verified(ctx, hexID, index); failed == nil {
				rows = t.rows
			}
		} else {
			rows, failed = n.ask(ctx, id, "verified", hexID, strconv.FormatUint(uint64(index), 10))
		}
		switch {
		case failed == nil && len(rows) == 1 && len(rows[0]) == 3:
			return rows[0], nil
		case failed == nil:
			return nil, protocolError("node %d answers with something else", id)
		case !strings.Contains(failed.Message, engine.ErrVerificationUnknown.Error()) || !n.endpoint.Connected(id) && id != n.self.Node:
			return nil, failed
		case time.Since(begun) > verifyLag:
			return nil, busy(fmt.Sprintf("it has not come to index %d within %v", index, verifyLag))
		}
		if _, ended := pause(ctx, verifyRetry, nil); ended != nil {
			return nil, failed
		}
	}
}

// verified is the verb by which the leader asks a member for its outcome.
func (s *session) verified(ctx context.Context, _ raft.Term, args []string) (*table, *Error) {
	index, err := strconv.ParseUint(args[1], 10, 63)
	if err != nil {
		return nil, protocolError("%q is no index", args[1])
	}
	return s.node.verified(ctx, args[0], raft.Index(index))
}

func (n *Node) verified(ctx context.Context, hexID string, index raft.Index) (*table, *Error) {
	if refused := n.refuseQuarantined(); refused != nil {
		return nil, refused
	}
	var id [8]byte
	if b, err := hex.DecodeString(hexID); err != nil || copy(id[:], b) != len(id) {
		return nil, protocolError("%q names no verification", hexID)
	}
	base, err := n.engine.Base() // waits for a running Apply: what is applied by now is known, or never will be
	if err != nil {
		return nil, busy(err.Error())
	}
	v, err := n.engine.Verification(ctx, id)
	if errors.Is(err, engine.ErrVerificationUnknown) && base.Applied.Index >= index {
		return nil, busy(fmt.Sprintf("it was restarted after index %d, or got a snapshot of a later one: verify again", index))
	}
	if err != nil {
		return nil, busy(err.Error())
	}
	return &table{columns: []string{"hash", "rows", "seconds"},
		rows: [][]any{{hex.EncodeToString(v.Hash[:]), v.Rows, v.Took.Seconds()}}}, nil
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
