package db

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

// The directory restore/ holds the files of restores, by the hash of what they hold:
//
//	<sha256>.partial       what has come of one; its length is how much
//	<sha256>.sqlite        a whole one: hashed, durable, and checked by the member that took it from a client
//	<sha256>.sqlite.index  the entry that it was for (engine.StagedFor)
//
// A whole one is needed until no log holds its entry: a node that was away, or is new, may have the entry before it.

const (
	stageDir      = "restore"
	partialSuffix = ".partial"
	stagedSuffix  = ".sqlite"
	// maxUploads bounds the files that have come in part.
	maxUploads = 4
	// uploadRest is how long nothing came of a file that has to give way to another one when there are maxUploads.
	uploadRest = 10 * time.Minute
	// stagedLife is for how long a file is kept that no entry came for, or of which nothing came.
	stagedLife = 24 * time.Hour
	// maxUploadPiece is the largest piece of a file in one request, in bytes.
	maxUploadPiece = 1 << 20
)

var (
	errUploads    = errors.New("too many unfinished uploads")
	errNotWhole   = errors.New("the file of the restore is not here, or not all of it")
	errDamagedWay = errors.New("the file was damaged on its way, and what came of it is gone: begin anew")
)

// restoreFile names the file of a restore by what it holds.
type restoreFile struct {
	sum  [sha256.Size]byte
	size int64
}

// parseRestoreFile reads the two arguments that name a file: SHA-256 in hexadecimal digits, and bytes.
func parseRestoreFile(sum, size string) (f restoreFile, failed *Error) {
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != len(f.sum) {
		return f, protocolError("%.80q is no SHA-256 in %d hexadecimal digits", sum, 2*len(f.sum))
	}
	f.sum = [sha256.Size]byte(b)
	if f.size, err = strconv.ParseInt(size, 10, 64); err != nil || f.size <= 0 {
		return f, protocolError("%.40q is no size of a database in bytes", size)
	}
	return f, nil
}

// args is what parseRestoreFile reads.
func (f restoreFile) args() []string {
	return []string{hex.EncodeToString(f.sum[:]), strconv.FormatInt(f.size, 10)}
}

func (f restoreFile) String() string { return fmt.Sprintf("%x (%d bytes)", f.sum[:6], f.size) }

// stage is the directory of a node's files of restores.
type stage struct {
	dir    string
	engine *engine.Engine

	mu sync.Mutex
	// claims holds the files that somebody writes or removes, each with what is closed at the end of that.
	claims map[[sha256.Size]byte]chan struct{}
}

// openStage makes the directory.
func openStage(dir string, e *engine.Engine) (*stage, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of restores: %w", err)
	}
	return &stage{dir: dir, engine: e, claims: make(map[[sha256.Size]byte]chan struct{})}, nil
}

func (s *stage) partial(f restoreFile) string {
	return filepath.Join(s.dir, hex.EncodeToString(f.sum[:])+partialSuffix)
}

// claim waits for its turn with a file. The caller releases it.
func (s *stage) claim(ctx context.Context, f restoreFile) (release func(), err error) {
	for {
		taken := s.tryClaim(f)
		if taken == nil {
			return func() { s.release(f) }, nil
		}
		select {
		case <-taken:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryClaim returns nil, or what is closed when another one releases the file.
func (s *stage) tryClaim(f restoreFile) (taken <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if taken := s.claims[f.sum]; taken != nil {
		return taken
	}
	s.claims[f.sum] = make(chan struct{})
	return nil
}

func (s *stage) release(f restoreFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.claims[f.sum])
	delete(s.claims, f.sum)
}

// has reports whether the file is here and whole. The caller has the claim.
func (s *stage) has(f restoreFile) (bool, error) {
	switch found, err := os.Stat(s.engine.Staged(f.sum)); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case found.Size() != f.size:
		return false, fmt.Errorf("the file with this hash has %d bytes, and not %d", found.Size(), f.size)
	}
	return true, nil
}

// whole is has for a file that is about to be used: one that was for an entry of before is kept for another one.
func (s *stage) whole(f restoreFile) (bool, error) {
	if has, err := s.has(f); !has || err != nil {
		return false, err
	}
	now := time.Now()
	return true, errors.Join(s.engine.KeepStaged(f.sum), os.Chtimes(s.engine.Staged(f.sum), now, now))
}

// come returns how many bytes of the file are here. The caller has the claim.
func (s *stage) come(f restoreFile) (int64, error) {
	if has, err := s.has(f); has || err != nil {
		return f.size, err
	}
	found, err := os.Stat(s.partial(f))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return found.Size(), nil
}

// take adds a piece, if it is the next one, and returns how many bytes are here: where the next piece begins. So a piece that
// comes twice is added once, and an upload that was cut off goes on where it was.
func (s *stage) take(ctx context.Context, f restoreFile, offset int64, piece []byte) (int64, error) {
	release, err := s.claim(ctx, f)
	if err != nil {
		return 0, err
	}
	defer release()
	return s.add(f, offset, piece)
}

// add is take for who has the claim.
func (s *stage) add(f restoreFile, offset int64, piece []byte) (int64, error) {
	have, err := s.come(f)
	if err != nil || have == f.size {
		return have, err
	}
	if err := s.engine.RoomForRestore(f.size-have, f.size); err != nil {
		return have, err
	}
	if offset != have || len(piece) == 0 {
		return have, nil
	}
	if int64(len(piece)) > f.size-have {
		return have, fmt.Errorf("a piece of %d bytes at %d goes beyond the end of the file at %d", len(piece), have, f.size)
	}
	if have == 0 {
		if err := s.begin(); err != nil {
			return 0, err
		}
	}
	file, err := os.OpenFile(s.partial(f), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return have, err
	}
	n, err := file.WriteAt(piece, have)
	return have + int64(n), errors.Join(err, file.Close())
}

// begin makes room for one more unfinished file.
func (s *stage) begin() error {
	partials, err := filepath.Glob(filepath.Join(s.dir, "*"+partialSuffix))
	if err != nil || len(partials) < maxUploads {
		return err
	}
	oldest, since := "", time.Now().Add(-uploadRest)
	for _, path := range partials {
		if found, err := os.Stat(path); err == nil && found.ModTime().Before(since) {
			oldest, since = path, found.ModTime()
		}
	}
	if oldest == "" {
		return fmt.Errorf("%w: this node has %d, and each had a piece in the last %v", errUploads, len(partials), uploadRest)
	}
	return os.Remove(oldest)
}

// complete makes a whole file of one that has come to its end, after check, if there is one, has found nothing. What is
// wrong with it goes. The caller has the claim.
func (s *stage) complete(f restoreFile, check func(path string) error) error {
	if whole, err := s.whole(f); whole || err != nil {
		return err
	}
	partial := s.partial(f)
	sum, size, err := hashOf(partial)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && size < f.size:
		return fmt.Errorf("%w: %d bytes of %d", errNotWhole, size, f.size)
	case err != nil:
		return err
	case sum != f.sum || size != f.size:
		return errors.Join(errDamagedWay, os.Remove(partial))
	}
	if check != nil {
		if err := check(partial); errors.Is(err, engine.ErrNotRestorable) {
			return errors.Join(err, os.Remove(partial))
		} else if err != nil {
			return err
		}
	}
	return s.publish(f)
}

// publish makes a file durable, then its name.
func (s *stage) publish(f restoreFile) error {
	file, err := os.OpenFile(s.partial(f), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("making the file of a restore durable: %w", err)
	}
	if err := s.engine.KeepStaged(f.sum); err != nil {
		return err
	}
	if err := os.Rename(s.partial(f), s.engine.Staged(f.sum)); err != nil {
		return err
	}
	return syncDirectory(s.dir)
}

func hashOf(path string) (sum [sha256.Size]byte, size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return sum, 0, err
	}
	defer file.Close()
	h := sha256.New()
	if size, err = io.Copy(h, file); err != nil {
		return sum, size, fmt.Errorf("reading %s: %w", path, err)
	}
	h.Sum(sum[:0])
	return sum, size, nil
}

// sweep removes the files that are of no use to this node and to those that get its log: those that were applied by an entry
// that the log, which begins at first, does not hold, and those that nobody came back to for stagedLife. settled says that
// a file without an entry is none that an entry in this node's log is about to need.
func (s *stage) sweep(now time.Time, first raft.Index, settled bool) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		name, partial := strings.CutSuffix(entry.Name(), partialSuffix)
		if !partial {
			name, _ = strings.CutSuffix(entry.Name(), stagedSuffix)
		}
		sum, err := hex.DecodeString(name)
		found, gone := entry.Info()
		if err != nil || len(sum) != sha256.Size || gone != nil {
			continue
		}
		f := restoreFile{sum: [sha256.Size]byte(sum)}
		old := now.Sub(found.ModTime()) > stagedLife
		errs = append(errs, s.sweepOne(f, partial, old, first, settled))
	}
	return errors.Join(errs...)
}

func (s *stage) sweepOne(f restoreFile, partial, old bool, first raft.Index, settled bool) error {
	if s.tryClaim(f) != nil {
		return nil // it is in use
	}
	defer s.release(f)
	if partial {
		if old {
			return os.Remove(s.partial(f))
		}
		return nil
	}
	index, known, err := s.engine.StagedFor(f.sum)
	switch {
	case err != nil:
		return err
	case known && (index >= first || s.engine.Applied() < index), !known && !(old && settled):
		return nil
	}
	return errors.Join(os.Remove(s.engine.Staged(f.sum)), s.engine.KeepStaged(f.sum))
}
