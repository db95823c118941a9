package engine

import (
	"math"

	"github.com/rsqld/rsqld/db/sqlite"
)

// stepsPerTick is after how many steps of the virtual machine SQLite calls back. The budget of a statement is counted
// in whole ticks.
const stepsPerTick = 1000

// meter counts what an entry does against the limits of the cluster, and vetoes the one rowid that makes SQLite choose
// at random. What it counts is a function of the entry and the rows before it alone:
//
//   - ticks count while a statement of the entry steps, and not in the statements that FTS5 or R-tree run inside of it,
//     whose number depends on what they have cached;
//   - SQLite's own step counter is reset before the run, so that ticks fall at the same steps whether the statement was
//     prepared now or taken from the cache;
//   - the schema is read when a statement is prepared, and one from the cache was prepared against the schema that is in
//     memory (package sqlite sees to it), so that no step reads it.
type meter struct {
	limits settings
	// counting is set while a recorded statement steps.
	counting bool
	// steps is of the running statement, rows of the entry.
	steps, rows int64
	// breach is the first breach of the entry: a *LimitError or a *VetoError. It outranks what SQLite says about the
	// statement that it interrupted.
	breach error
}

// beginEntry forgets the entry before.
func (m *meter) beginEntry() { m.steps, m.rows, m.breach = 0, 0, nil }

// beginStatement starts the budget of one statement.
func (m *meter) beginStatement() { m.steps, m.counting = 0, true }

func (m *meter) endStatement() { m.counting = false }

// tick is SQLite's progress callback. True interrupts the statement.
func (m *meter) tick() bool {
	if !m.counting {
		return false
	}
	if m.steps += stepsPerTick; m.steps > m.limits.maxSteps {
		m.breached(&LimitError{SettingMaxSteps, m.limits.maxSteps, "steps of SQLite's virtual machine in one statement"})
	}
	return m.breach != nil
}

// changed is SQLite's update callback: a row of a rowid table was inserted or updated, those behind FTS5 and R-tree
// included. It sees neither WITHOUT ROWID tables nor DELETE without WHERE; check counts those when a statement ends.
func (m *meter) changed(u sqlite.Update) {
	if !m.counting {
		return
	}
	if u.RowID == math.MaxInt64 && u.Op != sqlite.OpDelete {
		m.breached(&VetoError{u.Table()})
	}
	m.rows++
	m.check(m.rows)
}

// check holds a number of rows that the entry has changed against the limit.
func (m *meter) check(rows int64) {
	if rows > m.limits.maxRows {
		m.breached(&LimitError{SettingMaxRows, m.limits.maxRows, "changed rows in one entry"})
	}
}

func (m *meter) breached(err error) {
	if m.breach == nil {
		m.breach = err
	}
}
