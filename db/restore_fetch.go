package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	// fetchPatience is how long a member may leave a node that fetches a file without the next piece.
	fetchPatience = 10 * time.Second
	// sweepInterval is how often a node looks for files of restores that are of no use.
	sweepInterval = time.Minute
	// settledAfter is how long a node runs before it takes a file for one that no entry of its log is about to need.
	settledAfter = time.Hour
)

// errNobody says that no member that answers has the file of a restore.
var errNobody = errors.New("no member that answers has the file")

// restores is what a node does about the files of restores.
type restores struct {
	stage *stage
	// leading is held while this node, as the leader, brings a restore into the log.
	leading sync.Mutex
	// failure is why this node could not get the file without which it applies nothing; nil: it could, or is about to.
	failure atomic.Pointer[error]
}

// awaitsFile reports whether err is that of a restore whose file is to be had.
func (r *restores) awaitsFile(err error) bool {
	var missing *engine.NotStagedError
	return errors.As(err, &missing) && !errors.Is(r.lastFailure(), errNobody)
}

// lastFailure is why the file that this node waits for could not be had, or nil.
func (r *restores) lastFailure() error {
	if failure := r.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

// explain adds to why nothing is applied why the file that is missing cannot be had.
func (r *restores) explain(applying error) error {
	var missing *engine.NotStagedError
	if failure := r.lastFailure(); failure != nil && errors.As(applying, &missing) {
		return fmt.Errorf("%w: %w", applying, failure)
	}
	return applying
}

// watchRestores gets the files without which this node cannot go on applying, and removes those that are of no use.
func (n *Node) watchRestores(ctx context.Context) {
	began, swept := time.Now(), time.Time{}
	for {
		now := time.Now()
		var missing *engine.NotStagedError
		if !errors.As(n.replica.ApplyErr(), &missing) {
			n.restores.failure.Store(nil)
			if now.Sub(swept) >= sweepInterval {
				swept = now
				n.sweepRestores(now, now.Sub(began) >= settledAfter)
			}
		} else if err := n.obtain(ctx, restoreFile{missing.SHA256, missing.Size}, 0); err != nil && ctx.Err() == nil {
			n.restores.couldNot(err, n)
		}
		if _, ended := pause(ctx, healInterval, nil); ended != nil {
			return
		}
	}
}

// couldNot keeps why a file is not to be had, and logs it if it is news.
func (r *restores) couldNot(err error, n *Node) {
	before := r.failure.Swap(&err)
	if before == nil || (*before).Error() != err.Error() {
		n.log.Warn("cannot get the file of a restore, without which nothing is applied", "node", n.self.Node, "err", err)
	}
}

func (n *Node) sweepRestores(now time.Time, settled bool) {
	if err := n.restores.stage.sweep(now, n.replica.Status().First, settled); err != nil {
		n.log.Warn("removing files of restores", "node", n.self.Node, "err", err)
	}
}

// obtain makes sure that the file is here, whole and durable: it gets it from the member asked first, if that is not zero, or
// from any other one.
func (n *Node) obtain(ctx context.Context, f restoreFile, first raft.ID) error {
	s := n.restores.stage
	release, err := s.claim(ctx, f)
	if err != nil {
		return err
	}
	defer release()
	if whole, err := s.whole(f); whole || err != nil {
		return err
	}
	have, err := s.come(f)
	if err == nil {
		err = n.engine.RoomForRestore(f.size-have, f.size)
	}
	if err != nil {
		return err
	}
	var failures []string
	nobody := true
	for _, from := range n.holders(first) {
		began := time.Now()
		came, err := n.fetch(ctx, from, f)
		if err == nil {
			if err = s.complete(f, nil); err == nil {
				n.log.Info("the file of a restore is here", "node", n.self.Node, "peer", from, "bytes", f.size,
					"dur", time.Since(began).Round(time.Millisecond))
				return nil
			}
		}
		nobody = nobody && came == 0
		failures = append(failures, fmt.Sprintf("node %d: %v", from, err))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if nobody {
		return fmt.Errorf("%w: %s", errNobody, strings.Join(failures, "; "))
	}
	return errors.New(strings.Join(failures, "; "))
}

// holders are the other members, in the order in which they are asked for a file.
func (n *Node) holders(first raft.ID) (ids []raft.ID) {
	leader, _, _ := n.replica.Leader()
	for _, m := range n.members() {
		switch {
		case m.ID == n.self.Node:
		case m.ID == first, first == 0 && m.ID == leader:
			ids = slices.Insert(ids, 0, m.ID)
		default:
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// fetch adds what a member has of a file to what is here, and returns how many bytes came. The caller has the claim.
func (n *Node) fetch(ctx context.Context, from raft.ID, f restoreFile) (came int64, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(fetchPatience, func() {
		cancel(fmt.Errorf("nothing of the file came for %v", fetchPatience))
	})
	defer stalled.Stop()
	s := n.restores.stage
	have, err := s.come(f)
	if err != nil {
		return 0, err
	}
	var kept error // why this node did not take a piece
	failed := n.askEach(ctx, from, "staged", append(f.args(), strconv.FormatInt(have, 10)), func(row []any) error {
		stalled.Reset(fetchPatience)
		piece, is := row[0].([]byte)
		if !is {
			return fmt.Errorf("a %T instead of a piece", row[0])
		}
		var now int64
		now, kept = s.add(f, have, piece)
		came, have = came+now-have, now
		return kept
	})
	switch {
	case kept != nil:
		return came, kept
	case failed == nil && have < f.size:
		return came, fmt.Errorf("it has sent %d bytes of %d", have, f.size)
	case failed != nil && ctx.Err() != nil:
		return came, context.Cause(ctx)
	case failed != nil:
		return came, failed
	}
	return came, nil
}

// staged is the verb by which a peer gets the file of a restore, from an offset on.
func (s *session) staged(ctx context.Context, id uint64, args []string) *sqlpb.ServerFrame {
	f, failed := parseRestoreFile(args[0], args[1])
	offset, err := strconv.ParseInt(args[2], 10, 64)
	if failed == nil && (err != nil || offset < 0 || offset > f.size) {
		failed = protocolError("%.40q is no place in a file of %d bytes", args[2], f.size)
	}
	if failed != nil {
		return failure(id, failed)
	}
	file, err := os.Open(s.node.engine.Staged(f.sum))
	if errors.Is(err, fs.ErrNotExist) {
		return failure(id, protocolError("%v", errNotWhole))
	}
	if err != nil {
		return failure(id, protocolError("opening the file of a restore: %v", err))
	}
	defer file.Close()
	x := &export{session: s, id: id, out: output{session: s, request: id}}
	err = x.pieces(ctx, io.NewSectionReader(file, offset, f.size-offset))
	if err == nil {
		err = x.out.flush(false)
	}
	if err != nil {
		return failure(id, x.explain(ctx, "sending the file of a restore", err))
	}
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: id}}}
}

// fetchRestore is the verb by which the leader has a member get the file of a restore, from the leader or from any other one. The
// answer says that the file is durable.
func (s *session) fetchRestore(ctx context.Context, _ raft.Term, args []string) (*table, *Error) {
	f, failed := parseRestoreFile(args[0], args[1])
	if failed != nil {
		return nil, failed
	}
	if err := s.node.obtain(ctx, f, s.peer); err != nil {
		return nil, s.node.stageError(ctx, err)
	}
	return &table{}, nil
}

// stageError is what is told of a file that could not be staged.
func (n *Node) stageError(ctx context.Context, err error) *Error {
	switch {
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, errUploads):
		return busy(err.Error())
	case errors.Is(err, engine.ErrClosed):
		return shuttingDown()
	}
	e := protocolError("%v", err)
	e.unchanged = true
	return e
}
