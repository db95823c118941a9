// Package migrate runs the conformance tests of golang-migrate's database drivers: its driver for SQLite on a database of
// rsqld.
package migrate

import (
	"database/sql"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
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
	// Not TestMigrateDrop: it drops whatever table there is, those of rsqld itself too, and ends with VACUUM.
	if err := m.Down(); err != nil {
		t.Error(err)
	}
	if err := m.Steps(2); err != nil {
		t.Error(err)
	}
}
