package engine

import (
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/db/sqlite"
)

// damage is what was found to be broken in one generation of the database.
type damage struct {
	generation *generation
	err        error
}

// Damage returns what a read has found to be broken in the database in use, or nil. What applies entries may not come by
// there for a long time; but the node must not be thought to be well, nor give its pages to others. A snapshot that is
// restored takes the place of the database and ends it; so does a restart, until the next one finds it.
func (e *Engine) Damage() error {
	if d := e.damage.Load(); d != nil && d.generation == e.generation.Load() {
		return d.err
	}
	return nil
}

// noteDamage looks whether an error of a read in a generation says that the database is broken. A virtual table that disagrees
// with its content is not: statements can bring that about, and every replica has it.
func (e *Engine) noteDamage(in *generation, err error) {
	if err == nil {
		return
	}
	var failed *sqlite.Error
	if !Damaged(err) || errors.As(err, &failed) && failed.Extended == sqlite.CodeCorruptVTable || e.Damage() != nil {
		return
	}
	e.damage.Store(&damage{in, fmt.Errorf("a read has found the database damaged: %w", err)})
	e.log.Error("a read has found the database damaged", "file", in.file(), "err", err)
}
