package engine

import "github.com/rsqld/rsqld/db/command/commandpb"

// ingredient is one of the things that make an entry the same everywhere, see the package documentation. Each was
// taken away once and missed: the tests of equality leave one out and must fail.
type ingredient uint8

const (
	ingredientClock ingredient = 1 << iota
	ingredientSeed
	ingredientState
	ingredientForeignKeys
	ingredientSchema
	ingredientVeto
)

// has reports whether an ingredient is used. Only tests set what is left out.
func (w *writer) has(i ingredient) bool { return w.leftOut&i == 0 }

// setContext gives the connection what the entry brings along in the place of what this node would have: the time, the
// random numbers and an empty past.
func (w *writer) setContext(c *commandpb.Command) {
	w.state.time = max(w.state.time, c.Time)
	if w.has(ingredientClock) {
		w.clock.SetUnixNano(w.state.time)
	}
	if w.has(ingredientSeed) {
		w.conn.SeedRandom(c.Seed)
	}
	if w.has(ingredientState) {
		w.conn.ResetState()
	}
}
