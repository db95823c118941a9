package engine

import (
	"errors"
	"fmt"
)

// ErrQuarantined is the cause of every refusal of a database that was found to differ from the others.
var ErrQuarantined = errors.New("this node's database is quarantined")

// Quarantine stops the database, because of why: it applies nothing and answers nothing until a snapshot has replaced it.
// What it holds stays as it is. found is the result chain that it was found to have; if it is not known here any more, a
// snapshot may have replaced the database since, and Quarantine does nothing and returns false. A zero found is that of
// whatever there is.
func (e *Engine) Quarantine(found Chain, why error) bool {
	refusal := fmt.Errorf("%w: %w", ErrQuarantined, why)
	e.evict() // a running Apply or Restore ends before
	defer e.applying.Unlock()
	if found != (Chain{}) {
		if now, kept := e.ChainAt(found.Index); !kept || now != found {
			return false
		}
	}
	e.quarantined.Store(&refusal)
	return true
}

// Quarantined returns why the database is quarantined, wrapping ErrQuarantined, or nil.
func (e *Engine) Quarantined() error {
	if why := e.quarantined.Load(); why != nil {
		return *why
	}
	return nil
}
