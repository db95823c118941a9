package db

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A restore replaces what users have stored by the content of a file. The file comes first and the entry after it:
//
//	client   prepares the file (PrepareRestore) and brings it to the node at hand, piece by piece (upload)
//	node     checks all of it again, and asks the leader for the restore (restore)
//	leader   gets the file, has every member get it (fetch_restore), and waits until a majority of the voters has it durable
//	leader   proposes the entry, which names the file by its hash: each replica goes over to the file there
//
// Until the entry is proposed nothing has changed anywhere, whatever fails. From then on it is a write like any other. A
// replica that has not got the file when it comes to the entry stops there, gets it from any member, and goes on; or a
// snapshot of a later entry takes it past (package db/engine).

const (
	// restorePatience and restoreRate bound how long a file may take to come to a majority, and how long the entry may take
	// to be applied: so much time, and that of so many bytes a second.
	restorePatience = 5 * time.Minute
	restoreRate     = 4 << 20
	// spreadGrace is how long, once a majority has the file, the others may take besides twice the time that the majority took:
	// they would stop at the entry. Those that have not got it then get it later.
	spreadGrace = 2 * time.Second
)

// restoreLimit is how long a step of a restore may take.
func restoreLimit(size int64) time.Duration {
	return restorePatience + time.Duration(size/restoreRate)*time.Second
}

// PrepareRestore makes the file that brings the content of any SQLite database into a cluster, at target; see
// engine.PrepareRestore. It needs no node.
func PrepareRestore(ctx context.Context, source, target string) (engine.Restorable, error) {
	return engine.PrepareRestore(ctx, source, target)
}

// MaxUploadPiece is the largest piece of a file that the verb upload takes, in bytes.
const MaxUploadPiece = maxUploadPiece

// upload is the verb that takes a piece of a file: SHA-256, size, and where there is a piece its offset and bytes in base64. The
// answer is how many bytes are here, from the beginning: the next piece begins there. A client that was cut off asks, and
// goes on.
func (s *session) upload(ctx context.Context, _ raft.Term, args []string) (*table, *Error) {
	f, failed := parseRestoreFile(args[0], args[1])
	if failed != nil {
		return nil, failed
	}
	var offset int64
	var piece []byte
	if len(args) > 2 {
		var err error
		if offset, err = strconv.ParseInt(args[2], 10, 64); err != nil || offset < 0 {
			return nil, protocolError("%.40q is no place in a file", args[2])
		}
		if len(args) < 4 {
			return nil, protocolError("upload takes a piece with its offset, or neither")
		}
		if piece, err = base64.StdEncoding.DecodeString(args[3]); err != nil || len(piece) > maxUploadPiece {
			return nil, protocolError("a piece is at most %d bytes in base64 (%d, %v)", maxUploadPiece, len(piece), err)
		}
	}
	have, err := s.node.restores.stage.take(ctx, f, offset, piece)
	if err != nil {
		return nil, s.node.stageError(ctx, err)
	}
	return &table{columns: []string{"have"}, rows: [][]any{{have}}}, nil
}

// The steps of a restore on the leader. They are two requests to it, so that it is known of the first that it has changed nothing
// when the leader is lost.
const (
	restoreStage = "stage" // a majority of the voters has the file
	restoreEnter = "enter" // the same, and the entry is applied
)

// restore is the verb that replaces what users have stored by a file that was uploaded to this node: SHA-256 and size, and
// between members the step. The answer is results of stages, a row each second: of this node and of both steps. The
// last Done names the index of the entry.
func (s *session) restore(ctx context.Context, id uint64, args []string) *sqlpb.ServerFrame {
	if s.opened != nil {
		return s.failed(id, protocolError("restore does not run inside a transaction: commit it or roll it back first"))
	}
	f, failed := parseRestoreFile(args[0], args[1])
	if failed == nil && (len(args) == 3) != s.relayed {
		failed = protocolError("restore takes a step from members, and from nobody else")
	}
	if failed != nil {
		return failure(id, failed)
	}
	if s.relayed {
		return s.restoreStep(ctx, id, f, args[2])
	}
	t := &telling{export: &export{session: s, id: id, out: output{session: s, request: id}}}
	failed = t.run(ctx, func(ctx context.Context) *Error { return s.node.checkUpload(ctx, f) })
	if failed == nil {
		failed = t.endResult()
	}
	if failed != nil {
		return failure(id, failed)
	}
	staged := s.restoreStep(ctx, id, f, restoreStage)
	if done := staged.GetDone(); done == nil {
		return staged
	}
	staged.GetDone().More = true
	if failed := s.send(staged); failed != nil {
		return failure(id, failed)
	}
	return s.restoreStep(ctx, id, f, restoreEnter)
}

// restoreStep has the leader do a step, here or over there, and returns the frame that ends it.
func (s *session) restoreStep(ctx context.Context, id uint64, f restoreFile, step string) *sqlpb.ServerFrame {
	var last *sqlpb.ServerFrame
	failed := s.hold(ctx, func(leader raft.ID, term raft.Term) (failed *Error) {
		if leader == s.node.self.Node {
			last, failed = s.leadRestore(ctx, id, term, f, step)
			return failed
		}
		control := &sqlpb.Control{Id: id, Verb: "restore", Args: append(f.args(), step)}
		call := relayCall{session: s, id: id, changes: step == restoreEnter,
			frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: control}}}
		failed = call.run(ctx, leader)
		last = call.last
		return failed
	})
	if failed != nil {
		return failure(id, failed)
	}
	return last
}

// checkUpload makes a staged file of one that a client has brought. No client is trusted: a file that replicas could not go
// over to, or would diverge from, must not come into the log.
func (n *Node) checkUpload(ctx context.Context, f restoreFile) *Error {
	release, err := n.restores.stage.claim(ctx, f)
	if err != nil {
		return ended(ctx)
	}
	defer release()
	err = n.restores.stage.complete(f, func(path string) error { return engine.CheckRestorable(ctx, path) })
	if err != nil {
		return n.stageError(ctx, err)
	}
	return nil
}

// leadRestore is a step on the leader.
func (s *session) leadRestore(
	ctx context.Context, id uint64, term raft.Term, f restoreFile, step string,
) (*sqlpb.ServerFrame, *Error) {
	n := s.node
	if !n.restores.leading.TryLock() {
		return nil, busy("another restore is under way")
	}
	defer n.restores.leading.Unlock()
	if failed := n.catchUp(ctx); failed != nil {
		return nil, failed
	}
	t := &telling{export: &export{session: s, id: id, out: output{session: s, request: id}}}
	done := &sqlpb.Done{Id: id}
	failed := t.run(ctx, func(ctx context.Context) *Error {
		failed := n.spread(ctx, f, t)
		if failed != nil || step != restoreEnter {
			return failed
		}
		result, failed := n.proposeRestore(ctx, term, f, t)
		if failed == nil {
			done.Index, done.Wrote = uint64(result.Index), true
		}
		return failed
	})
	if failed != nil {
		return nil, failed.fromHereOn("nothing was replaced")
	}
	if err := t.out.flush(false); err != nil {
		return nil, t.out.failed
	}
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: done}}, nil
}

// fromHereOn is the error of a request part of whose answer was sent: it is not sent again by itself.
func (e *Error) fromHereOn(meaning string) *Error {
	if e.Retry == sqlpb.Retry_RETRY_SAME {
		e.Retry, e.unchanged = sqlpb.Retry_RETRY_NEVER, false
		e.Message += ": " + meaning
	}
	return e
}

// spread brings the file to this node, and then to the others. It returns when a majority of the voters, this node among them,
// has it durable, and all that answer have, or have had their time.
func (n *Node) spread(ctx context.Context, f restoreFile, t *telling) *Error {
	ctx, cancel := context.WithTimeout(ctx, restoreLimit(f.size))
	defer cancel()
	began := time.Now()
	t.say("the leader gets the file")
	if err := n.obtain(ctx, f, t.session.peer); err != nil {
		return n.stageError(ctx, err)
	}
	s := newSpreading(n.self.Node, n.replica.Status().Configuration)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	answers := make(chan spreadAnswer, len(s.pending))
	for id := range s.pending {
		asking.Go(func() {
			_, failed := n.ask(ctx, id, "fetch_restore", f.args()...)
			answers <- spreadAnswer{id, failed}
		})
	}
	var grace <-chan time.Time
	for len(s.pending) > 0 {
		t.say(s.String())
		if grace == nil && s.majority() {
			grace = time.After(spreadGrace + 2*time.Since(began))
		}
		select {
		case a := <-answers:
			s.take(a)
		case <-grace:
			return nil
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	if s.majority() {
		return nil
	}
	return noLeader(fmt.Sprintf("no quorum: %v: %s", s, strings.Join(s.failures, "; ")))
}

// proposeRestore puts the entry into the log and waits until this node has applied it.
func (n *Node) proposeRestore(ctx context.Context, term raft.Term, f restoreFile, t *telling) (*engine.Result, *Error) {
	t.say("the nodes go over to the file")
	ctx, cancel := context.WithTimeout(ctx, restoreLimit(f.size))
	defer cancel()
	result, failed := n.propose(ctx, term, &commandpb.Command{Body: &commandpb.Command_Restore{
		Restore: &commandpb.Restore{Sha256: f.sum[:], Size: uint64(f.size)}}})
	if failed == nil && result.Err != nil {
		failed = entryError(result)
	}
	return result, failed
}

// spreading is who has a file.
type spreading struct {
	configuration raft.Configuration
	have          map[raft.ID]bool
	pending       map[raft.ID]bool // members that have not answered
	failures      []string
}

// spreadAnswer is what a member says.
type spreadAnswer struct {
	from   raft.ID
	failed *Error
}

func newSpreading(self raft.ID, c raft.Configuration) *spreading {
	s := &spreading{configuration: c, have: map[raft.ID]bool{self: true}, pending: make(map[raft.ID]bool)}
	for _, ids := range [][]raft.ID{c.Voters, c.Outgoing, c.Learners} {
		for _, id := range ids {
			if id != self {
				s.pending[id] = true
			}
		}
	}
	return s
}

func (s *spreading) take(a spreadAnswer) {
	delete(s.pending, a.from)
	if a.failed == nil {
		s.have[a.from] = true
		return
	}
	s.failures = append(s.failures, fmt.Sprintf("node %d: %v", a.from, a.failed))
}

// majority reports whether a majority of the voters has the file; of both groups while the voters change (§4.3).
func (s *spreading) majority() bool {
	return s.most(s.configuration.Voters) && (len(s.configuration.Outgoing) == 0 || s.most(s.configuration.Outgoing))
}

func (s *spreading) most(voters []raft.ID) bool {
	count := 0
	for _, id := range voters {
		if s.have[id] {
			count++
		}
	}
	return count > len(voters)/2
}

func (s *spreading) String() string {
	count := 0
	for _, id := range s.configuration.Voters {
		if s.have[id] {
			count++
		}
	}
	return fmt.Sprintf("%d of %d voters have the file", count, len(s.configuration.Voters))
}

// telling tells a client of the stages of long work.
type telling struct {
	*export
	stage atomic.Pointer[string]
}

func (t *telling) say(stage string) { t.stage.Store(&stage) }

// run works, and sends the stage each second until that has ended. A client that cannot be told ends it.
func (t *telling) run(ctx context.Context, work func(context.Context) *Error) *Error {
	if err := t.out.Columns([]engine.Column{{Name: "stage"}}); err != nil {
		return t.out.failed
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan *Error, 1)
	go func() { ended <- work(ctx) }()
	tick := time.NewTicker(exportTick)
	defer tick.Stop()
	for {
		select {
		case failed := <-ended:
			return failed
		case <-tick.C:
		}
		if stage := t.stage.Load(); stage != nil && ctx.Err() == nil {
			if err := t.tellStage(*stage); err != nil {
				cancel(err)
			}
		}
	}
}

func (t *telling) tellStage(stage string) error {
	if err := t.out.Row(wire.AppendRow(nil, []any{stage})); err != nil {
		return err
	}
	return t.out.flush(true)
}

// endResult ends a result that another one follows.
func (t *telling) endResult() *Error {
	err := t.out.flush(false)
	if err == nil {
		err = t.out.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: t.id, More: true}}}, false)
	}
	if err != nil {
		return t.out.failed
	}
	return nil
}
