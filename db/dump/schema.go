package dump

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Kind is how a table is filled.
type Kind uint8

// The kinds.
const (
	// Ordinary tables hold their rows.
	Ordinary Kind = iota
	// Virtual tables are filled by INSERTs into them; their shadow tables follow.
	Virtual
	// External is an FTS5 table over the text of another table or view. An INSERT changes only its index.
	External
	// Contentless is an FTS5 table that keeps no text: only its shadow tables can be copied.
	Contentless
	// Foreign is a virtual table of another module than fts5, rtree and geopoly: it is not filled.
	Foreign
)

// Object is an index, a view or a trigger.
type Object struct {
	Name, Table, SQL string
}

// Table is a table and how its rows are copied.
type Table struct {
	Name string
	// SQL is its CREATE statement, without a semicolon.
	SQL  string
	Kind Kind
	// Columns are what Select returns and an INSERT gives: all that are stored, quoted, behind a name of the rowid
	// where no column holds it.
	Columns []string
	// Keys are what tells the rows apart: a name of the rowid, or the primary key of a table WITHOUT ROWID. It is empty
	// where columns have taken all names of the rowid.
	Keys []string
	// Select reads all rows, in the order of their keys.
	Select string
	// Config are settings of an FTS5 table, as pairs of literals.
	Config [][2]string
	// shadows are the tables of a Contentless one.
	shadows []Table
}

// Schema is what a database has beside rows.
type Schema struct {
	Tables                   []Table // in the order of their making, virtual ones last
	Indexes, Views, Triggers []Object
	// Analyzed says that there are statistics.
	Analyzed bool
	// UserVersion and ApplicationID are the two numbers in the file's header that are a user's.
	UserVersion, ApplicationID int64
}

// Read reads the schema of a database, without what is SQLite's and rsqld's own. With patterns, as for LIKE, it is that
// of the tables and views of which one fits, with the indexes and triggers on them.
func Read(conn *sqlite.Conn, patterns ...string) (*Schema, error) {
	s := new(Schema)
	err := s.readObjects(conn, patterns)
	for i := 0; i < len(s.Tables) && err == nil; i++ {
		err = s.Tables[i].read(conn)
	}
	slices.SortStableFunc(s.Tables, func(a, b Table) int { return min(int(a.Kind), 1) - min(int(b.Kind), 1) })
	for pragma, to := range map[string]*int64{"user_version": &s.UserVersion, "application_id": &s.ApplicationID} {
		if err == nil {
			err = query(conn, "PRAGMA "+pragma, func(row *sqlite.Stmt) error { *to = row.ColumnInt64(0); return nil })
		}
	}
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	return s, nil
}

// objectsSQL lists the objects. Those of tables that belong to a virtual table have the type shadow.
const objectsSQL = `SELECT o.type, o.name, o.tbl_name, o.sql, coalesce(t.type, '') FROM sqlite_schema AS o
	LEFT JOIN pragma_table_list AS t ON t.schema = 'main' AND t.name = o.tbl_name
	WHERE o.sql IS NOT NULL AND o.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND o.tbl_name NOT LIKE '\_rsqld%' ESCAPE '\'
	ORDER BY o.rowid`

func (s *Schema) readObjects(conn *sqlite.Conn, patterns []string) error {
	chosen := func(string) (bool, error) { return true, nil }
	if len(patterns) > 0 {
		chosen = func(name string) (bool, error) { return likeAny(conn, name, patterns) }
	}
	err := query(conn, objectsSQL, func(row *sqlite.Stmt) error {
		o := Object{Name: row.ColumnText(1), Table: row.ColumnText(2), SQL: row.ColumnText(3)}
		ok, err := chosen(o.Table)
		if err != nil || !ok || row.ColumnText(4) == "shadow" {
			return err
		}
		switch row.ColumnText(0) {
		case "table":
			t := Table{Name: o.Name, SQL: o.SQL}
			if row.ColumnText(4) == "virtual" {
				t.Kind = Foreign
			}
			s.Tables = append(s.Tables, t)
		case "index":
			s.Indexes = append(s.Indexes, o)
		case "view":
			s.Views = append(s.Views, o)
		case "trigger":
			s.Triggers = append(s.Triggers, o)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.Analyzed, err = exists(conn, "sqlite_stat1")
	return err
}

// exists reports whether the schema has a name.
func exists(conn *sqlite.Conn, name string) (is bool, err error) {
	err = query(conn, "SELECT 1 FROM sqlite_schema WHERE name = ?", func(*sqlite.Stmt) error { is = true; return nil }, name)
	return is, err
}

func likeAny(conn *sqlite.Conn, name string, patterns []string) (fits bool, err error) {
	for _, pattern := range patterns {
		yes := func(*sqlite.Stmt) error { fits = true; return nil }
		err = query(conn, "SELECT 1 WHERE ?1 LIKE ?2", yes, name, pattern)
		if fits || err != nil {
			return fits, err
		}
	}
	return false, nil
}

// read completes a table by what SQLite says of it.
func (t *Table) read(conn *sqlite.Conn) error {
	if t.Kind == Foreign {
		if err := t.readVirtual(conn); err != nil {
			return err
		}
	}
	return t.readColumns(conn)
}

func (t *Table) readVirtual(conn *sqlite.Conn) error {
	name, args := module(t.SQL)
	switch name {
	case "rtree", "rtree_i32", "geopoly":
		t.Kind = Virtual
		return nil
	case "fts5":
	default:
		return nil
	}
	t.Kind = Virtual
	if content, given := option(args, "content"); given {
		t.Kind = External
		if content == "" {
			t.Kind = Contentless
			return t.readShadows(conn)
		}
	}
	config := "SELECT k, v FROM " + quoteName(t.Name+"_config") + " WHERE k <> 'version' ORDER BY k"
	return query(conn, config, func(row *sqlite.Stmt) error {
		key, value := appendLiteral(nil, row.Column(0)), appendLiteral(nil, row.Column(1))
		t.Config = append(t.Config, [2]string{string(key), string(value)})
		return nil
	})
}

func (t *Table) readShadows(conn *sqlite.Conn) error {
	const sql = `SELECT o.name, o.sql FROM sqlite_schema AS o
		JOIN pragma_table_list AS t ON t.schema = 'main' AND t.name = o.name AND t.type = 'shadow'
		WHERE o.name IN (?1 || '_data', ?1 || '_idx', ?1 || '_content', ?1 || '_docsize', ?1 || '_config')
		ORDER BY o.rowid`
	err := query(conn, sql, func(row *sqlite.Stmt) error {
		t.shadows = append(t.shadows, Table{Name: row.ColumnText(0), SQL: row.ColumnText(1)})
		return nil
	}, t.Name)
	for i := 0; i < len(t.shadows) && err == nil; i++ {
		err = t.shadows[i].readColumns(conn)
	}
	return err
}

// rowidNames are those by which a rowid can be read, if no column has taken them.
var rowidNames = []string{"rowid", "_rowid_", "oid"}

// readColumns finds what has to be copied. Computed columns are not.
func (t *Table) readColumns(conn *sqlite.Conn) error {
	taken, keys, integer := map[string]bool{}, []string(nil), false
	const columns = "SELECT name, hidden, pk, type FROM pragma_table_xinfo(?1) ORDER BY cid"
	err := query(conn, columns, func(row *sqlite.Stmt) error {
		name := row.ColumnText(0)
		taken[strings.ToLower(name)] = true
		if row.ColumnInt64(2) > 0 {
			keys = append(keys, quoteName(name))
			integer = strings.EqualFold(row.ColumnText(3), "integer")
		}
		if row.ColumnInt64(1) == 0 {
			t.Columns = append(t.Columns, quoteName(name))
		}
		return nil
	}, t.Name)
	if err != nil {
		return err
	}
	withoutRowid, indexed := false, false
	const kept = `SELECT (SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1),
		EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')`
	err = query(conn, kept, func(row *sqlite.Stmt) error {
		withoutRowid, indexed = row.ColumnInt64(0) != 0, row.ColumnInt64(1) != 0
		return nil
	}, t.Name)
	if err != nil {
		return err
	}
	// A primary key of one INTEGER column is the rowid, unless it has an index of its own (INTEGER PRIMARY KEY DESC).
	inColumn := len(keys) == 1 && integer && !indexed
	if name, _ := module(t.SQL); t.Kind != Ordinary {
		inColumn = name != "fts5" && name != "geopoly"
	}
	free := slices.IndexFunc(rowidNames, func(name string) bool { return !taken[name] })
	switch {
	case withoutRowid:
		t.Keys = keys
	case free >= 0 && t.Kind != Foreign:
		if t.Keys = rowidNames[free : free+1]; !inColumn {
			t.Columns = slices.Insert(t.Columns, 0, rowidNames[free])
		}
	}
	t.Select = "SELECT " + strings.Join(t.Columns, ", ") + " FROM " + quoteName(t.Name)
	if t.Kind == Ordinary {
		t.Select += " NOT INDEXED"
	}
	return nil
}

// Insert is the INSERT of so many rows of parameters.
func (t *Table) Insert(rows int) string {
	row := "(" + strings.Repeat("?,", len(t.Columns)-1) + "?)"
	return t.into() + " VALUES" + strings.Repeat(row+",", rows-1) + row
}

// into is the beginning of an INSERT.
func (t *Table) into() string {
	return "INSERT INTO " + quoteName(t.Name) + "(" + strings.Join(t.Columns, ",") + ")"
}

// query runs a statement and has visit look at each row.
func query(conn *sqlite.Conn, sql string, visit func(*sqlite.Stmt) error, args ...string) (err error) {
	stmt, err := conn.Internal(sql)
	if err != nil {
		return err
	}
	defer stmt.Release()
	for i, arg := range args {
		if err := stmt.BindText(i+1, arg); err != nil {
			return err
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := visit(stmt); err != nil {
			return err
		}
	}
}
