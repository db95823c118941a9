package engine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// An entry may ask every replica to hash its content as it is after that entry. The batch ends with it, a read transaction
// is opened before the next one begins, and what that sees is hashed beside the writes that follow: schema and rows, by their
// keys, of every table there is, those of the engine too. Pages are not hashed: two replicas may have other bytes in the free
// parts of pages. Columns that are computed when they are read are not hashed: what they are computed from is, and one that
// cannot be computed for some row would hide all the others.

const (
	// maxVerifications is how many outcomes are kept, the newest ones. A restart forgets all.
	maxVerifications = 8
	// maxHashing is how many verifications run at once. One more ends the oldest of them: each holds the write-ahead log of
	// its time, and a replica that replays its log comes by entries whose outcomes nobody waits for.
	maxHashing = 2
	// rowsPerTurn and bytesPerTurn are how much is hashed before others may step: whichever comes first.
	rowsPerTurn  = 256
	bytesPerTurn = 1 << 20
)

// ErrVerificationUnknown says that this replica has not hashed its content under an id: it has not applied the entry yet, or
// was started since.
var ErrVerificationUnknown = errors.New("this node knows of no such verification: it was started since, or has not come so far")

// ErrVerificationReplaced says that newer verifications have ended one before it was done.
var ErrVerificationReplaced = errors.New("newer verifications have ended this one")

// verification names one.
type verification [8]byte

// Verification is what hashing the content came to, or has come to so far: then without Hash and Took.
type Verification struct {
	// Index is that of the entry that asked for it.
	Index raft.Index
	Hash  [sha256.Size]byte
	Rows  int64
	Took  time.Duration
}

type verifications struct {
	mu sync.Mutex // guards what follows
	// order are the ids of known, oldest first.
	order []verification
	known map[verification]*verifying
	// working are those that run.
	working sync.WaitGroup
}

// verifying is one that runs or has ended.
type verifying struct {
	done   chan struct{} // closed when result and err are set
	cancel context.CancelCauseFunc
	index  raft.Index
	rows   atomic.Int64 // hashed so far
	result Verification
	err    error
}

// beginVerification begins the verification that the newest batch ended with, if it did. It needs applying.
func (e *Engine) beginVerification(w *writer) {
	id := w.verify
	if id == (verification{}) {
		return
	}
	w.verify = verification{}
	ctx, cancel := context.WithCancelCause(e.ctx)
	v := &verifying{done: make(chan struct{}), cancel: cancel, index: w.state.base.Applied.Index}
	e.verifications.add(id, v)
	conn, err := openSnapshotReader(e.file())
	if err != nil {
		v.end(err)
		return
	}
	e.verifications.working.Go(func() {
		began := time.Now()
		var err error
		v.result.Hash, err = e.hashContent(ctx, conn, &v.rows)
		v.result.Index, v.result.Rows, v.result.Took = v.index, v.rows.Load(), time.Since(began)
		v.end(errors.Join(err, conn.Close()))
	})
}

func (v *verifying) end(err error) {
	v.err = err
	v.cancel(nil)
	close(v.done)
}

func (v *verifying) ended() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

func (s *verifications) add(id verification, v *verifying) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[verification]*verifying)
	}
	if before, twice := s.known[id]; twice {
		before.cancel(ErrVerificationReplaced)
		s.order = slices.DeleteFunc(s.order, func(other verification) bool { return other == id })
	}
	if len(s.order) == maxVerifications {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
	s.known[id], s.order = v, append(s.order, id)
	running := 0
	for _, id := range slices.Backward(s.order) {
		if v := s.known[id]; !v.ended() {
			if running++; running > maxHashing {
				v.cancel(ErrVerificationReplaced)
			}
		}
	}
}

// openSnapshotReader opens a connection that sees what is committed now, until it is closed.
func openSnapshotReader(path string) (*sqlite.Conn, error) {
	conn, err := sqlite.Open(path, sqlite.CheckpointOptions())
	if err != nil {
		return nil, err
	}
	err = conn.Exec("BEGIN")
	if err == nil {
		_, err = conn.SchemaVersion() // the first read is what pins it
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// Verification waits for the outcome of a verification that an entry has asked for. If ctx ends before it is there it
// returns how many rows are hashed so far, with the cause of ctx.
//
// It is ErrVerificationUnknown before the entry is applied here. Whoever sees it although Applied has come to the entry
// before knows that it will not become known any more: what an entry begins is known before Applied tells of it.
func (e *Engine) Verification(ctx context.Context, id [8]byte) (Verification, error) {
	e.verifications.mu.Lock()
	v := e.verifications.known[id]
	e.verifications.mu.Unlock()
	if v == nil {
		return Verification{}, ErrVerificationUnknown
	}
	select {
	case <-v.done:
		return v.result, v.err
	case <-ctx.Done():
		return Verification{Index: v.index, Rows: v.rows.Load()}, context.Cause(ctx)
	}
}

// storedTables lists the tables and how to read what is stored in them, in the order of their own keys (NOT INDEXED): the
// rowid, by a name that no column has taken, and all columns but the computed ones (hidden = 2). Where columns have taken all
// three names no query can read the rowids; the order of the rows is hashed all the same.
const storedTables = `SELECT t.name, format('SELECT %s FROM "%w" NOT INDEXED', concat_ws(', ',
		CASE WHEN NOT t.wr THEN (SELECT r.column1 FROM (VALUES ('rowid'), ('oid'), ('_rowid_')) AS r
			WHERE r.column1 NOT IN (SELECT lower(c.name) FROM pragma_table_xinfo(t.name) AS c) LIMIT 1) END,
		(SELECT group_concat(format('"%w"', c.name), ', ' ORDER BY c.cid) FROM pragma_table_xinfo(t.name) AS c WHERE c.hidden <> 2)), t.name)
	FROM pragma_table_list AS t
	WHERE t.schema = 'main' AND t.type IN ('table', 'shadow') AND t.name <> 'sqlite_schema' ORDER BY t.name`

// hashContent hashes all that a connection sees, a turn to step at a time, and counts the rows.
func (e *Engine) hashContent(ctx context.Context, conn *sqlite.Conn, rows *atomic.Int64) (sum [sha256.Size]byte, err error) {
	h := contentHasher{ctx: ctx, readers: e.readers, conn: conn, sum: sha256.New(), rows: rows}
	if err := h.table("schema", "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"); err != nil {
		return sum, err
	}
	var queries [][2]string
	err = queryInternal(conn, storedTables, func(stmt *sqlite.Stmt) error {
		queries = append(queries, [2]string{stmt.ColumnText(0), stmt.ColumnText(1)})
		return nil
	})
	if err != nil {
		return sum, err
	}
	for _, q := range queries {
		if err := h.table(q[0], q[1]); err != nil {
			return sum, fmt.Errorf("hashing table %s: %w", q[0], err)
		}
	}
	h.sum.Sum(sum[:0])
	return sum, nil
}

// contentHasher hashes rows in turns.
type contentHasher struct {
	ctx     context.Context // ends it between two turns
	readers *readers        // who gives the turns
	conn    *sqlite.Conn
	sum     hash.Hash
	rows    *atomic.Int64
	packed  []byte
}

// table hashes the rows of a query, behind a name.
func (h *contentHasher) table(name, sql string) error {
	fmt.Fprintf(h.sum, "%d %s\n", len(name), name)
	stmt, err := h.conn.Internal(sql)
	if err != nil {
		return err
	}
	defer stmt.Release()
	for more := true; more; {
		// Looked at by itself: of a turn that is free and an end, step would take either.
		if h.ctx.Err() != nil {
			return context.Cause(h.ctx)
		}
		if err := h.readers.step(h.ctx, func() {}); err != nil {
			return err
		}
		more, err = h.some(stmt)
		h.readers.stepped()
		if err != nil {
			return err
		}
	}
	return nil
}

// some hashes the rows of one turn.
func (h *contentHasher) some(stmt *sqlite.Stmt) (more bool, err error) {
	for rows, bytes := 0, 0; rows < rowsPerTurn && bytes < bytesPerTurn; rows++ {
		if more, err = stmt.Step(); err != nil || !more {
			return false, err
		}
		h.packed = appendRow(h.packed[:0], stmt, stmt.ColumnCount())
		h.sum.Write(h.packed)
		h.rows.Add(1)
		bytes += len(h.packed)
	}
	return true, nil
}
