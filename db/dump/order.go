package dump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// With foreign keys on, a row can be inserted when the row that it refers to is there, or comes in the same
// transaction. A database whose rows are to be inserted by many small transactions is therefore read in another order
// than that of its making: tables before those that refer to them; and within a group of tables that refer to each
// other, or to themselves, rows before those that refer to them. What is left then are circles of rows, which only one
// transaction can insert.

// Group is tables that refer to each other, or one table, whose foreign keys lead to itself and to earlier groups only.
type Group struct {
	Tables []*Table
	// Circular says that a foreign key leads from a table of the group to one of the group.
	Circular bool

	links [][]link // of each of Tables, those that stay in the group
}

// link is a foreign key within a group.
type link struct {
	parent   int // in Group.Tables
	from, to []string
}

// reference is a foreign key of a table.
type reference struct {
	parent   int // in the schema's Tables; -1: no table of the schema
	from, to []string
}

// Groups returns the ordinary tables of a schema in an order in which their rows can be inserted.
func Groups(conn *sqlite.Conn, s *Schema) ([]Group, error) {
	n := len(s.Tables)
	f := finder{references: make([][]reference, n), number: make([]int, n), low: make([]int, n)}
	byName := make(map[string]int)
	for i := range s.Tables {
		byName[strings.ToLower(s.Tables[i].Name)] = i
	}
	for i := range s.Tables {
		var err error
		if f.references[i], err = references(conn, &s.Tables[i], byName); err != nil {
			return nil, fmt.Errorf("reading the foreign keys of %s: %w", s.Tables[i].Name, err)
		}
	}
	var groups []Group
	for i := range s.Tables {
		if s.Tables[i].Kind == Ordinary && f.number[i] == 0 {
			f.visit(i)
		}
	}
	for _, members := range f.found {
		groups = append(groups, f.group(s, members))
	}
	return groups, nil
}

// references reads the foreign keys of a table.
func references(conn *sqlite.Conn, t *Table, byName map[string]int) (list []reference, err error) {
	if t.Kind != Ordinary {
		return nil, nil
	}
	last := int64(-1)
	const sql = `SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?1) ORDER BY id, seq`
	err = query(conn, sql, func(row *sqlite.Stmt) error {
		if id := row.ColumnInt64(0); id != last {
			parent, known := byName[strings.ToLower(row.ColumnText(1))]
			if !known {
				parent = -1
			}
			list, last = append(list, reference{parent: parent}), id
		}
		r := &list[len(list)-1]
		r.from = append(r.from, row.ColumnText(2))
		if row.ColumnType(3) != sqlite.Null {
			r.to = append(r.to, row.ColumnText(3))
		}
		return nil
	}, t.Name)
	for i := range list {
		if r := &list[i]; err == nil && r.to == nil && r.parent >= 0 { // it refers to the primary key
			for name, at := range byName {
				if at == r.parent {
					r.to, err = primaryKey(conn, name)
				}
			}
		}
	}
	return list, err
}

func primaryKey(conn *sqlite.Conn, table string) (names []string, err error) {
	const sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk"
	err = query(conn, sql, func(row *sqlite.Stmt) error { names = append(names, row.ColumnText(0)); return nil }, table)
	return names, err
}

// finder finds strongly connected tables (R. Tarjan, Depth-first search and linear graph algorithms, SIAM J. Comput. 1,
// 1972). It finds a group after every one that it refers to.
type finder struct {
	references  [][]reference
	number, low []int // of each table, from 1; zero: not visited
	visited     int
	stack       []int
	found       [][]int
}

func (f *finder) visit(at int) {
	f.visited++
	f.number[at], f.low[at] = f.visited, f.visited
	f.stack = append(f.stack, at)
	for _, r := range f.references[at] {
		switch {
		case r.parent < 0:
		case f.number[r.parent] == 0:
			f.visit(r.parent)
			f.low[at] = min(f.low[at], f.low[r.parent])
		case slices.Contains(f.stack, r.parent):
			f.low[at] = min(f.low[at], f.number[r.parent])
		}
	}
	if f.low[at] == f.number[at] {
		from := slices.Index(f.stack, at)
		f.found = append(f.found, slices.Sorted(slices.Values(f.stack[from:])))
		f.stack = f.stack[:from]
	}
}

// group makes a group of tables.
func (f *finder) group(s *Schema, members []int) Group {
	g := Group{links: make([][]link, len(members))}
	for i, member := range members {
		g.Tables = append(g.Tables, &s.Tables[member])
		for _, r := range f.references[member] {
			if parent := slices.Index(members, r.parent); parent >= 0 {
				g.Circular = true
				g.links[i] = append(g.links[i], link{parent: parent, from: r.from, to: r.to})
			}
		}
	}
	return g
}

// Emit takes a row of a table: the columns of the statement are the table's Columns.
type Emit func(t *Table, row *sqlite.Stmt) error

// maxPasses bounds how often a group is looked through for rows that can be inserted. Chains of rows that go up or down
// take two passes whatever their length.
const maxPasses = 200

// ErrTangled says that the rows of a group refer to each other in a way that would take too long to put in order.
var ErrTangled = errors.New("the rows refer to each other in too tangled a way")

// Check says whether Rows can tell the rows of the group apart, ErrTangled if not.
func (g *Group) Check() error {
	for _, t := range g.Tables {
		if g.Circular && len(t.Keys) == 0 {
			return fmt.Errorf("the columns of table %s have taken all names of the rowid: %w", t.Name, ErrTangled)
		}
	}
	return nil
}

// keyNames are names of so many columns.
func keyNames(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("k%d", i)
	}
	return strings.Join(names, ", ")
}

// Rows emits the rows of a group, each after those that it refers to. Rows that refer to each other in circles are
// left, see Rest. It needs room for the keys of rows in a temporary table of the connection.
func (g *Group) Rows(ctx context.Context, conn *sqlite.Conn, emit Emit) error {
	if !g.Circular {
		return g.straight(ctx, conn, emit)
	}
	if err := g.Check(); err != nil {
		return err
	}
	for i, t := range g.Tables {
		keys := keyNames(len(t.Keys))
		err := conn.Exec(fmt.Sprintf(`DROP TABLE IF EXISTS temp.sent%d;
			CREATE TEMP TABLE sent%d(%s, PRIMARY KEY(%s)) WITHOUT ROWID`, i, i, keys, keys))
		if err != nil {
			return err
		}
	}
	idle := 0 // passes without a row, one after the other
	for pass := 0; idle < 2; pass++ {
		if pass == maxPasses {
			return ErrTangled
		}
		emitted := 0
		for i := range g.Tables {
			n, err := g.pass(ctx, conn, i, pass%2 == 1, true, emit)
			if err != nil {
				return err
			}
			emitted += n
		}
		if idle++; emitted > 0 {
			idle = 0
		}
	}
	return nil
}

// Rest emits the rows that Rows has left.
func (g *Group) Rest(ctx context.Context, conn *sqlite.Conn, emit Emit) error {
	if !g.Circular {
		return nil
	}
	for i := range g.Tables {
		if _, err := g.pass(ctx, conn, i, false, false, emit); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) straight(ctx context.Context, conn *sqlite.Conn, emit Emit) error {
	for _, t := range g.Tables {
		err := query(conn, t.Select, func(row *sqlite.Stmt) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return emit(t, row)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pass emits those rows of a table that were not emitted and, if ready is set, refer to nothing that was not emitted. A
// row counts as emitted for those that follow in the same pass.
func (g *Group) pass(
	ctx context.Context, conn *sqlite.Conn, i int, down, ready bool, emit Emit,
) (emitted int, err error) {
	t := g.Tables[i]
	parameters := strings.Repeat("?,", len(t.Keys)-1) + "?"
	mark, err := conn.Internal(fmt.Sprintf("INSERT INTO temp.sent%d VALUES(%s)", i, parameters))
	if err != nil {
		return 0, err
	}
	defer mark.Release()
	err = query(conn, g.passSQL(i, down, ready), func(row *sqlite.Stmt) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for k := range t.Keys {
			if err := mark.Bind(k+1, row.Column(len(t.Columns)+k)); err != nil {
				return err
			}
		}
		if _, err := mark.Step(); err != nil {
			return err
		}
		if err := mark.Reset(); err != nil {
			return err
		}
		emitted++
		return emit(t, row)
	})
	return emitted, err
}

// passSQL selects the columns of the rows of a pass, and their keys behind them.
func (g *Group) passSQL(i int, down, ready bool) string {
	t := g.Tables[i]
	var b strings.Builder
	b.WriteString("SELECT c." + strings.Join(t.Columns, ", c.") + ", c." + strings.Join(t.Keys, ", c."))
	fmt.Fprintf(&b, " FROM main.%s AS c NOT INDEXED WHERE NOT %s", quoteName(t.Name), g.emitted(i, "c"))
	for _, l := range g.links[i] {
		if !ready {
			break
		}
		parent := g.Tables[l.parent]
		fmt.Fprintf(&b, " AND NOT EXISTS (SELECT 1 FROM main.%s AS p WHERE NOT %s",
			quoteName(parent.Name), g.emitted(l.parent, "p"))
		for k := range min(len(l.from), len(l.to)) {
			fmt.Fprintf(&b, " AND p.%s = c.%s", quoteName(l.to[k]), quoteName(l.from[k]))
		}
		if l.parent == i { // a row may refer to itself
			fmt.Fprintf(&b, " AND (p.%s) <> (c.%s)", strings.Join(parent.Keys, ", p."), strings.Join(t.Keys, ", c."))
		}
		b.WriteString(")")
	}
	direction := ""
	if down {
		direction = " DESC"
	}
	b.WriteString(" ORDER BY c." + strings.Join(t.Keys, direction+", c.") + direction)
	return b.String()
}

// emitted is a condition: the row of a table, under a name, was emitted.
func (g *Group) emitted(i int, row string) string {
	t := g.Tables[i]
	same := make([]string, len(t.Keys))
	for k, key := range t.Keys {
		same[k] = fmt.Sprintf("%s.%s = s.k%d", row, key, k)
	}
	return fmt.Sprintf("EXISTS (SELECT 1 FROM temp.sent%d AS s WHERE %s)", i, strings.Join(same, " AND "))
}

// maxBroken is how many broken foreign keys are told.
const maxBroken = 5

// Broken says which rows refer to a row that is not there, the first few of them, and how many there are. A table that
// is not there at all may be elsewhere: what refers to it is left out.
func Broken(conn *sqlite.Conn) (first []string, count int64, err error) {
	const sql = `SELECT f."table", f.rowid, f.parent FROM pragma_foreign_key_check AS f
		WHERE EXISTS (SELECT 1 FROM sqlite_schema AS s WHERE s.type = 'table' AND lower(s.name) = lower(f.parent))`
	err = query(conn, sql, func(row *sqlite.Stmt) error {
		if count++; count <= maxBroken {
			where := "a row"
			if row.ColumnType(1) != sqlite.Null {
				where = "row " + row.ColumnText(1)
			}
			table, parent := row.ColumnText(0), row.ColumnText(2)
			first = append(first, fmt.Sprintf("%s of %s refers to no row of %s", where, table, parent))
		}
		return nil
	})
	return first, count, err
}
