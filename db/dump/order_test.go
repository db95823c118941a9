package dump

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// emitted emits all groups of a database into another one with foreign keys on, row by row, and returns the tables in
// their order and how many rows were left in circles.
func emitted(t *testing.T, from *sqlite.Conn) (order string, rest int) {
	t.Helper()
	s, err := Read(from)
	if err != nil {
		t.Fatal(err)
	}
	to := database(t, "pragma foreign_keys = on; pragma synchronous = off")
	for _, table := range s.Tables {
		must(t, to, table.SQL)
	}
	for _, o := range s.Indexes {
		must(t, to, o.SQL)
	}
	insert := func(table *Table, row *sqlite.Stmt) error {
		stmt, _, err := to.Prepare(table.Insert(1))
		if err != nil {
			return err
		}
		defer stmt.Release()
		for i := range table.Columns {
			if err := stmt.Bind(i+1, row.Column(i)); err != nil {
				return err
			}
		}
		_, err = stmt.Step()
		return err
	}
	groups, err := Groups(from, s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range groups {
		var names []string
		for _, table := range groups[i].Tables {
			names = append(names, table.Name)
		}
		order += " " + strings.Join(names, "+")
		if err := groups[i].Rows(t.Context(), from, insert); err != nil {
			t.Fatalf("%v: %v", names, err)
		}
		must(t, to, "begin; pragma defer_foreign_keys = 1")
		if err := groups[i].Rest(t.Context(), from, func(table *Table, row *sqlite.Stmt) error { rest++; return insert(table, row) }); err != nil {
			t.Fatal(err)
		}
		must(t, to, "commit")
	}
	if got, want := fmt.Sprint(content(t, to)), fmt.Sprint(content(t, from)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	return order, rest
}

// Whatever way rows refer to each other, there is an order in which each can be inserted alone with foreign keys on,
// but for circles, which are left to the end of their group.
func TestGroups(t *testing.T) {
	for name, test := range map[string]struct {
		sql, order string
		rest       int
	}{
		"children first": {`create table c(id integer primary key, p references P(id)); create table p(id integer primary key, g references g);
			create table g(k text primary key) without rowid; insert into g values('g'); insert into p values(1, 'g'); insert into c values(1, 1), (2, null)`, " g p c", 0},
		"a chain up": {`create table t(id integer primary key, p references t(id)); insert into t with recursive n(i) as
			(select 1 union all select i + 1 from n where i < 500) select i, nullif(i + 1, 501) from n`, " t", 0},
		"a chain down": {`create table t(id integer primary key, p references t(id)); insert into t with recursive n(i) as
			(select 1 union all select i + 1 from n where i < 500) select i, nullif(i - 1, 0) from n`, " t", 0},
		"to itself": {"create table t(id integer primary key, p not null references t(id)); insert into t values(2, 1), (1, 1)", " t", 0},
		"two tables": {`create table a(id integer primary key, b references b(id)); create table b(id integer primary key, a references a(id));
			insert into a values(1, null), (2, 20), (3, 30); insert into b values(10, 1), (20, 1), (30, 2)`, " a+b", 0},
		"circles of rows": {`create table a(id integer primary key, b not null references b(id)); create table b(id integer primary key, a not null references a(id));
			insert into a values(1, 10), (2, 20), (3, 20); insert into b values(10, 1), (20, 2)`, " a+b", 5},
		"by other keys": {`create table c(x, y, foreign key (x, y) references "p q"("b""b", a)); create table "p q"(a, "b""b" text collate nocase);
			create unique index u on "p q"("b""b", a); insert into "p q" values(1, 'One'); insert into c values('ONE', 1), ('nobody', null)`, " p q c", 0},
		"without rowid": {`create table t(k text collate nocase, n int, p, q, primary key (k, n), foreign key (p, q) references t) without rowid;
			insert into t values('a', 1, 'B', 2), ('b', 2, 'c', 1), ('c', 1, null, null), ('d', 1, 'd', 1), ('e', 1, 'a', 1)`, " t", 0},
		"nobody": {"create table t(x references elsewhere(id)); create virtual table v using fts5(x)", " t", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if order, rest := emitted(t, database(t, test.sql)); order != test.order || rest != test.rest {
				t.Errorf("the order is%s and %d rows are left, want%s and %d", order, rest, test.order, test.rest)
			}
		})
	}
}

// What cannot be ordered is said: tables without rowids in circles, and rows that would take too many passes.
func TestGroupsTangled(t *testing.T) {
	for name, sql := range map[string]string{
		"without names": "create table t(rowid, oid, _rowid_, k text primary key, p references t(k)); insert into t(k, p) values('a', 'b'), ('b', null)",
		// Each row refers to one that lies on the other side of all that are left.
		"zigzag": `create table t(id integer primary key, p references t(id)); insert into t with recursive n(i) as
			(select 0 union all select i + 1 from n where i < 449) select iif(i % 2, 450 - i, i - 450), iif(i = 449, null, iif(i % 2, i + 1 - 450, 450 - i - 1)) from n`,
	} {
		from := database(t, sql)
		s, err := Read(from)
		if err != nil {
			t.Fatal(err)
		}
		groups, err := Groups(from, s)
		if err != nil {
			t.Fatal(err)
		}
		err = groups[0].Rows(t.Context(), from, func(*Table, *sqlite.Stmt) error { return nil })
		if !errors.Is(err, ErrTangled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rows that refer to nothing are found, but for those that refer to a table that is not there.
func TestBroken(t *testing.T) {
	conn := database(t, `create table p(id integer primary key); create table c(x references P(id)); create table e(x references elsewhere(id));
		insert into c values(1), (2), (3), (4), (5), (6), (null); insert into e values(1)`)
	first, count, err := Broken(conn)
	if err != nil || count != 6 || len(first) != maxBroken || first[0] != "row 1 of c refers to no row of p" && first[0] != "row 1 of c refers to no row of P" {
		t.Errorf("%q, %d, %v", first, count, err)
	}
}
