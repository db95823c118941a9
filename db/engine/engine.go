package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/snapshot"
)

// Defaults of a Config.
const (
	// DefaultMaxReaders is the default of Config.MaxReaders (sql.max_readers).
	DefaultMaxReaders = 64
	// DefaultReaderTimeout is the default of Config.ReaderTimeout (sql.reader_timeout).
	DefaultReaderTimeout = 30 * time.Second
)

// Config says how an Engine is opened. What changes the effect of entries is not here but in the replicated settings.
type Config struct {
	// Dir is the directory of the database: its generations and which one is in use. It is made if it is missing.
	Dir string
	// MaxReaders is how many reads may be open at once (sql.max_readers); zero means DefaultMaxReaders. A further one
	// waits. Each open one costs up to 8 MiB of cache.
	MaxReaders int
	// ReaderTimeout ends a read (sql.reader_timeout); zero means DefaultReaderTimeout.
	ReaderTimeout time.Duration
	// SnapshotDir is where copies of the database are made for others, on the same file system as Dir. Empty: Dir itself.
	SnapshotDir string
	// StageDir is where the files of restores are. Empty: SnapshotDir.
	StageDir string
	// Logger gets changes of state; nil is slog's default.
	Logger *slog.Logger
	// Fault makes file operations of the writer and the checkpointer fail. It is for tests; nil is none.
	Fault sqlite.FaultFunc
}

// Engine is the database of one node. See the package documentation for its contract.
type Engine struct {
	config Config
	log    *slog.Logger
	// generation is the one in use. Restore replaces it.
	generation atomic.Pointer[generation]

	// applying is held by Apply, Base and Close; it guards writer, decoded, commands and history's writing side.
	applying sync.Mutex
	// decoded are the entries of the running Apply, and commands holds what they say. Both are memory used again.
	decoded  []decodedEntry
	commands command.Decoder
	// writer is nil after an error of the environment and after Close; Apply and Base open it again.
	writer *writer
	// transaction is the one that is open, or nil. It is written under applying.
	transaction atomic.Pointer[Transaction]
	// damage is what a read has found. See Damage.
	damage atomic.Pointer[damage]
	// committed is the state as of the newest commit.
	committed atomic.Pointer[state]

	// chains guards history.
	chains  sync.Mutex
	history chainHistory

	readers      *readers
	classifier   *classifier
	checkpointer *checkpointer

	closed atomic.Bool
	// quarantined is why nothing is applied or answered, or nil.
	quarantined   atomic.Pointer[error]
	verifications verifications
	// ctx ends when the engine is closed.
	ctx    context.Context
	cancel context.CancelFunc
	// copying is held for reading by Snapshot.
	copying sync.RWMutex
	// freeSpace is that of the machine, but in tests.
	freeSpace func(dir string) (int64, error)
}

// Open creates or opens the database in a directory. It runs the self-test of SQLite first: an engine whose SQLite does
// not do what the replicas agreed on would diverge. The caller must Close it.
func Open(config Config) (*Engine, error) {
	if config.MaxReaders == 0 {
		config.MaxReaders = DefaultMaxReaders
	}
	if config.SnapshotDir == "" {
		config.SnapshotDir = config.Dir
	}
	if config.StageDir == "" {
		config.StageDir = config.SnapshotDir
	}
	if config.ReaderTimeout == 0 {
		config.ReaderTimeout = DefaultReaderTimeout
	}
	e := &Engine{config: config, log: config.Logger, freeSpace: freeSpace}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if e.log == nil {
		e.log = slog.Default()
	}
	if err := sqlite.SelfTest(); err != nil {
		return nil, fmt.Errorf("testing SQLite: %w", err)
	}
	if err := e.open(); err != nil {
		return nil, fmt.Errorf("opening the database in %s: %w", config.Dir, err)
	}
	return e, nil
}

func (e *Engine) open() error {
	if err := os.MkdirAll(e.config.Dir, directoryPerm); err != nil {
		return err
	}
	found, isNew, err := findGeneration(e.config.Dir)
	if err != nil {
		return err
	}
	e.generation.Store(&found)
	if isNew {
		if err := e.create(); err != nil {
			return err
		}
	}
	if e.writer, err = openWriter(e.file(), false, e.config.Fault); err != nil {
		return err
	}
	next := e.writer.state.base.Applied.Index + 1
	err = errors.Join(found.salvage(snapshot.IncomingPath(e.config.SnapshotDir, next)), found.removeOthers(), removeSpools(e.config.SnapshotDir))
	if err != nil {
		return errors.Join(err, e.writer.close())
	}
	e.publish(&e.writer.state, nil)
	e.readers = newReaders(e)
	e.classifier = newClassifier(e)
	e.checkpointer = startCheckpointer(e)
	return nil
}

// create makes the first generation. The file is closed before it is made the one in use, so that no write-ahead log
// belongs to it.
func (e *Engine) create() error {
	if err := e.generation.Load().begin(); err != nil {
		return err
	}
	w, err := openWriter(e.file(), true, e.config.Fault)
	if err != nil {
		return err
	}
	if err := w.close(); err != nil {
		return err
	}
	if err := e.generation.Load().commit(wal.OS()); err != nil {
		return err
	}
	e.log.Info("database created", "file", e.file())
	return nil
}

// Apply executes committed entries in order; see raft.Machine. The result of a command is a *Result, that of other
// entries nil. The entries must follow the one applied last without a gap.
//
// An error means that this node cannot go on now: its disk or memory failed, or the program is too old for an entry.
// Nothing was recorded then of the entries after those whose results are returned. The next call opens the database
// again and may succeed. Applied may be behind the results until then.
//
// A transaction that is open is undone: what it saw is over.
func (e *Engine) Apply(entries []raft.Entry) ([]raft.Result, error) {
	e.evict()
	defer e.applying.Unlock()
	results := make([]raft.Result, 0, len(entries))
	if err := errors.Join(e.Quarantined(), e.reopen()); err != nil {
		return results, err
	}
	decoded, stop := e.decodeEntries(e.committed.Load().base.Applied.Index, entries)
	defer e.forgetEntries()
	for len(results) < len(decoded) {
		if first := decoded[len(results)]; first.isRestore() {
			r, err := e.restore(first)
			if err != nil {
				return results, err
			}
			results = append(results, r)
			continue
		}
		e.checkpointer.beforeBatch(e.writer)
		b, err := e.writer.applyBatch(decoded[len(results):])
		if err != nil {
			e.abandon()
			return results, err
		}
		results = append(results, b.results...) // committed, whatever happens from here on
		if err := b.settle(); err != nil {
			e.abandon()
			return results, err
		}
		e.beginVerification(b.writer) // known before Applied tells of its entry
		e.publish(&b.writer.state, b.chain)
		e.checkpointer.afterBatch(e.writer)
	}
	return results, stop
}

// Base returns how far the database has come, as it is durable; see raft.Machine.
func (e *Engine) Base() (raft.Base, error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	if err := e.reopen(); err != nil {
		return raft.Base{}, err
	}
	return e.committed.Load().base, nil
}

// reopen opens the writer again after an error of the environment.
func (e *Engine) reopen() error {
	if e.closed.Load() {
		return ErrClosed
	}
	if e.writer != nil {
		return nil
	}
	w, err := openWriter(e.file(), false, e.config.Fault)
	if err != nil {
		return err
	}
	e.writer = w
	e.publish(&w.state, nil)
	e.log.Debug("database opened again", "index", w.state.base.Applied.Index, "term", w.state.base.Applied.Term)
	return nil
}

// abandon closes a writer that cannot be trusted. Its transaction is rolled back; if that cannot be written either, the
// file holds it as one that was never committed.
func (e *Engine) abandon() {
	if err := e.writer.close(); err != nil {
		e.log.Warn("closing the database after a failure", "err", err)
	}
	e.writer = nil
}

// publish makes a committed state the one that every goroutine sees. chain is that of the entries committed with it.
func (e *Engine) publish(s *state, chain []Chain) {
	e.chains.Lock()
	e.history.add(chain)
	e.chains.Unlock()
	published := *s
	before := e.committed.Swap(&published)
	if before != nil && before.limits != published.limits {
		e.readers.renew()
	}
}

// Close waits for a running Apply, ends the reads that run, and closes the files. A read whose sink waits for a client
// ends when the sink does: the caller ends the clients first. The write-ahead log of SQLite is moved
// into the database. A second Close does nothing.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return nil
	}
	e.cancel()
	if t := e.transaction.Load(); t != nil {
		t.Kill(ErrClosed)
	}
	e.copying.Lock() // the last Snapshot has ended
	defer e.copying.Unlock()
	errs := []error{e.checkpointer.close(), e.readers.close(), e.classifier.close()}
	e.applying.Lock() // nothing begins a verification from here on
	defer e.applying.Unlock()
	e.verifications.working.Wait()
	if t := e.transaction.Load(); t != nil { // begun since
		t.stop(ErrClosed)
		e.undo(t)
	}
	if e.writer != nil {
		errs = append(errs, e.writer.close())
		e.writer = nil
	}
	return joinClose(errs)
}

// file is the path of the database file.
func (e *Engine) file() string { return e.generation.Load().file() }

// Applied returns the index of the newest entry that is applied and committed here.
func (e *Engine) Applied() raft.Index { return e.committed.Load().base.Applied.Index }

// Chain returns the result chain as of the newest entry applied.
func (e *Engine) Chain() Chain { return e.committed.Load().chain }

// ChainAt returns the result chain as of an earlier index, if it is among the last 65,536 that were applied since the
// start.
func (e *Engine) ChainAt(index raft.Index) (Chain, bool) {
	if current := e.Chain(); current.Index == index {
		return current, true
	}
	e.chains.Lock()
	defer e.chains.Unlock()
	hash, kept := e.history.at(index)
	return Chain{index, hash}, kept
}

// Cluster returns the cluster's id, zero before Bootstrap was applied.
func (e *Engine) Cluster() [16]byte { return e.committed.Load().cluster }

// Epoch returns the epoch of the newest Recover that was applied, empty before the first.
func (e *Engine) Epoch() string { return e.committed.Load().epoch }

// Members returns the members, sorted by id. The caller owns the list.
func (e *Engine) Members() []Member { return cloneMembers(e.committed.Load().members) }

// Token returns the token with an id, if it is known.
func (e *Engine) Token(id [8]byte) (Token, bool) {
	token, known := e.committed.Load().tokens[id]
	return token, known
}

// Settings returns every setting of the cluster with its value. The caller owns the map.
func (e *Engine) Settings() map[string]string { return maps.Clone(e.committed.Load().settings) }

// TargetVoters returns the settings by which a leader keeps the voters: how many there shall be (zero: no number is meant), and
// after what time one that is away is replaced.
func (e *Engine) TargetVoters() (target int, replaceAfter time.Duration) {
	s := e.committed.Load().limits
	return int(s.targetVoters), s.replaceAfter
}

// LastTime returns the newest entry time applied, in Unix nanoseconds.
func (e *Engine) LastTime() int64 { return e.committed.Load().time }

// Size returns the bytes of the database file and of its write-ahead log.
func (e *Engine) Size() int64 {
	var size int64
	for _, suffix := range []string{"", "-wal"} {
		// A file that is not there has no bytes; that one cannot be looked at, its next use will tell.
		if file, err := os.Stat(e.file() + suffix); err == nil {
			size += file.Size()
		}
	}
	return size
}

// Path returns the directory of the generation in use, for messages.
func (e *Engine) Path() string { return filepath.Clean(e.generation.Load().path()) }
