package db

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A node whose log holds a restore that nobody has the file of, as after rsqld recover, says so, and goes on when a client brings
// the same file once more.
func TestRestoreWithoutFile(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := Open(ctx, Config{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(ctx)
	source := filepath.Join(t.TempDir(), "source")
	conn, err := sqlite.Open(source, sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Exec("create table t(x)"), conn.Close()); err != nil {
		t.Fatal(err)
	}
	prepared, err := PrepareRestore(ctx, source, filepath.Join(t.TempDir(), "prepared"))
	if err != nil {
		t.Fatal(err)
	}
	f := restoreFile{prepared.SHA256, prepared.Size}

	proposed := make(chan *Error, 1)
	go func() {
		proposed <- n.hold(ctx, func(_ raft.ID, term raft.Term) *Error {
			_, failed := n.proposeRestore(ctx, term, f, new(telling))
			return failed
		})
	}()
	s := &session{node: n}
	said := func() string {
		_, failed := s.health(ctx, 0, nil)
		if failed == nil {
			return ""
		}
		return failed.Message
	}
	for !strings.Contains(said(), errNobody.Error()) {
		if _, ended := pause(ctx, 10*time.Millisecond, nil); ended != nil {
			t.Fatalf("it says %q", said())
		}
	}
	var missing *engine.NotStagedError
	if err := n.replica.ApplyErr(); !errors.As(err, &missing) || missing.SHA256 != f.sum || n.restores.awaitsFile(err) {
		t.Errorf("it waits for %v", err)
	}
	content, err := os.ReadFile(prepared.Path)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := n.restores.stage.take(ctx, f, 0, content); err != nil || have != f.size {
		t.Fatal(have, err)
	}
	if failed := n.checkUpload(ctx, f); failed != nil {
		t.Fatal(failed)
	}
	// A leader that cannot apply gives leadership up, and the fate of its entries is not its to tell.
	if failed := <-proposed; failed != nil && failed.Class != sqlpb.Class_CLASS_OUTCOME_UNKNOWN {
		t.Fatal(failed)
	}
	for said() != "" {
		if _, ended := pause(ctx, 10*time.Millisecond, nil); ended != nil {
			t.Fatalf("with the file it says %q", said())
		}
	}
	if index, known, err := n.engine.StagedFor(f.sum); err != nil || !known || n.engine.Applied() < index {
		t.Errorf("it has applied %d; the file was for %d, %t, %v", n.engine.Applied(), index, known, err)
	}
}
