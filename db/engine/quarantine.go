package engine

import (
	"errors"
	"fmt"
)

// ErrQuarantined is the cause of every refusal of a database that was found to differ from the others.
var ErrQuarantined = errors.New("this node's database is quarantined")

// Quarantine stops the database: it applies nothing and answers nothing until a snapshot has replaced it, because of why.
// What it holds stays as it is.
func (e *Engine) Quarantine(why error) {
	refusal := fmt.Errorf("%w: %w", ErrQuarantined, why)
	e.evict() // a running Apply ends before
	defer e.applying.Unlock()
	e.quarantined.Store(&refusal)
}

// Quarantined returns why the database is quarantined, wrapping ErrQuarantined, or nil.
func (e *Engine) Quarantined() error {
	if why := e.quarantined.Load(); why != nil {
		return *why
	}
	return nil
}
