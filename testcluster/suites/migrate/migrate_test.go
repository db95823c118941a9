// Package migrate runs the conformance tests of golang-migrate's database drivers: its driver for SQLite on a database of
// rsqld.
package migrate

import (
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	"github.com/golang-migrate/migrate/v4/database/sqlite"
	databasetesting "github.com/golang-migrate/migrate/v4/database/testing"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	_ "github.com/rsqld/rsqld/db/driver"
)

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("rsqld", os.Getenv("RSQLD_DSN"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestDriver(t *testing.T) {
	for name, noTransaction := range map[string]bool{"wrapped": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			d, err := sqlite.WithInstance(open(t), &sqlite.Config{MigrationsTable: "migrations_" + name, NoTxWrap: noTransaction})
			if err != nil {
				t.Fatal(err)
			}
			databasetesting.TestNilVersion(t, d)
			databasetesting.TestLockAndUnlock(t, d)
			databasetesting.TestRun(t, d, strings.NewReader("create table ran_"+name+"(a, b)"))
			databasetesting.TestSetVersion(t, d)
		})
	}
}

func TestMigrations(t *testing.T) {
	d, err := sqlite.WithInstance(open(t), &sqlite.Config{MigrationsTable: "migrations_up"})
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"1_users.up.sql":   "create table m_users(id integer primary key, name text unique not null); create index m_users_name on m_users(name);",
		"1_users.down.sql": "drop table m_users;",
		"2_posts.up.sql":   "create table m_posts(id integer primary key, author integer references m_users(id) on delete cascade, text); insert into m_users(name) values('first'); create trigger m_posted after insert on m_posts begin update m_users set name = name || '!' where id = new.author; end;",
		"2_posts.down.sql": "drop table m_posts; delete from m_users;",
		"3_column.up.sql":  "alter table m_posts add column at default current_timestamp;",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	files["3_column.up.sql"].Data = []byte("alter table m_posts add column at text;")
	files["3_column.down.sql"] = &fstest.MapFile{Data: []byte("alter table m_posts drop column at;")}
	source, err := iofs.New(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	m, err := migrate.NewWithInstance("iofs", source, "rsqld", d)
	if err != nil {
		t.Fatal(err)
	}
	databasetesting.TestMigrateUp(t, m)
	// Not TestMigrateDrop: see drops.
	if err := m.Down(); err != nil {
		t.Error(err)
	}
	if err := m.Steps(2); err != nil {
		t.Error(err)
	}
}

// drops is golang-migrate's driver for SQLite with another Drop. That one would drop whatever table there is, those of
// rsqld itself too, which is refused, and end with VACUUM.
type drops struct {
	database.Driver
	db *sql.DB
}

// Drop implements database.Driver: it drops the tables that are the user's, children first.
func (d drops) Drop() error {
	var text sql.NullString
	err := d.db.QueryRow(`SELECT group_concat('DROP TABLE ' || quote(name), ';' ORDER BY rowid DESC) FROM sqlite_schema
		WHERE type = 'table' AND name NOT LIKE '\_rsqld\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`).Scan(&text)
	if err == nil {
		_, err = d.db.Exec(text.String)
	}
	return err
}

// With it all of golang-migrate's tests pass, and a migration that fails in its middle leaves nothing but a mark.
func TestDropAndFail(t *testing.T) {
	for name, noTransaction := range map[string]bool{"wrapped": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			if err := (drops{db: db}).Drop(); err != nil {
				t.Fatal(err)
			}
			sqlite3, err := sqlite.WithInstance(db, &sqlite.Config{NoTxWrap: noTransaction})
			if err != nil {
				t.Fatal(err)
			}
			d := drops{sqlite3, db}
			databasetesting.Test(t, d, []byte("create table ran(a, b)"))
			if sqlite3, err = sqlite.WithInstance(db, &sqlite.Config{NoTxWrap: noTransaction}); err != nil {
				t.Fatal(err)
			}
			source, err := iofs.New(fstest.MapFS{
				"1_good.up.sql":  {Data: []byte("create table good(a); insert into good values('a;b');")},
				"2_wrong.up.sql": {Data: []byte("create table half(a); delete from good; create table nonsense(;")},
			}, ".")
			if err != nil {
				t.Fatal(err)
			}
			m, err := migrate.NewWithInstance("iofs", source, "rsqld", drops{sqlite3, db})
			if err != nil {
				t.Fatal(err)
			}
			var failed *database.Error
			if err := m.Up(); !errors.As(err, &failed) {
				t.Errorf("it ends with %v", err)
			}
			if version, dirty, err := m.Version(); err != nil || version != 2 || !dirty {
				t.Errorf("version %d, dirty %v, %v", version, dirty, err)
			}
			var half, good int
			err = db.QueryRow("select (select count(*) from sqlite_schema where name = 'half'), (select count(*) from good)").Scan(&half, &good)
			if err != nil || half != 0 || good != 1 {
				t.Errorf("%d tables of it, %d rows, %v", half, good, err)
			}
			databasetesting.TestMigrateDrop(t, m)
		})
	}
}
