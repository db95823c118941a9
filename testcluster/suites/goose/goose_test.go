// Package goose runs goose's provider on a database of rsqld, through what its own tests of dialects do: up, by one, to a
// version, down, again, with statements in and outside of transactions, from files and from functions, by two at once.
package goose

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/pressly/goose/v3"

	_ "github.com/rsqld/rsqld/db/driver"
)

var migrations = fstest.MapFS{
	"00001_owners.sql": {Data: []byte(`-- +goose Up
CREATE TABLE g_owners (owner_id INTEGER PRIMARY KEY AUTOINCREMENT, owner_name TEXT NOT NULL UNIQUE, owner_type TEXT NOT NULL CHECK (owner_type IN ('user', 'organization')));
-- +goose Down
DROP TABLE g_owners;
`)},
	"00002_repos.sql": {Data: []byte(`-- +goose Up
CREATE TABLE IF NOT EXISTS g_repos (repo_id INTEGER PRIMARY KEY, repo_full_name TEXT NOT NULL, repo_owner_id INTEGER NOT NULL REFERENCES g_owners(owner_id) ON DELETE CASCADE);
-- +goose Down
DROP TABLE IF EXISTS g_repos;
`)},
	"00003_data.sql": {Data: []byte(`-- +goose Up
INSERT INTO g_owners(owner_name, owner_type) VALUES ('lucas', 'user'), ('space', 'organization');
INSERT INTO g_repos(repo_full_name, repo_owner_id) SELECT owner_name || '/rover', owner_id FROM g_owners;
-- +goose StatementBegin
CREATE TRIGGER g_added AFTER INSERT ON g_owners BEGIN
  INSERT INTO g_repos(repo_full_name, repo_owner_id) VALUES (new.owner_name || '/first', new.owner_id);
  SELECT 1;
END;
-- +goose StatementEnd
-- +goose Down
DROP TRIGGER g_added;
DELETE FROM g_owners;
`)},
	"00004_index.sql": {Data: []byte(`-- +goose NO TRANSACTION
-- +goose Up
CREATE UNIQUE INDEX g_name ON g_repos(repo_full_name);
ANALYZE;
-- +goose Down
DROP INDEX g_name;
`)},
}

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("rsqld", os.Getenv("RSQLD_DSN"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func provider(t *testing.T, db *sql.DB, options ...goose.ProviderOption) *goose.Provider {
	t.Helper()
	p, err := goose.NewProvider(goose.DialectSQLite3, db, migrations, options...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func version(t *testing.T, p *goose.Provider, want int64) {
	t.Helper()
	if got, err := p.GetDBVersion(t.Context()); err != nil || got != want {
		t.Fatalf("version %d, %v; want %d", got, err, want)
	}
}

func TestProvider(t *testing.T) {
	db := open(t)
	fails := errors.New("it fails")
	broken := true
	p := provider(t, db, goose.WithGoMigrations(goose.NewGoMigration(5,
		&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO g_owners(owner_name, owner_type) VALUES ('go', 'user')"); err != nil {
				return err
			}
			if broken {
				return fails
			}
			return nil
		}},
		&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM g_owners WHERE owner_name = 'go'")
			return err
		}})))
	version(t, p, 0)
	if _, err := p.UpByOne(t.Context()); err != nil {
		t.Fatal(err)
	}
	version(t, p, 1)
	if _, err := p.UpTo(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	version(t, p, 3)
	if _, err := p.Up(t.Context()); !errors.Is(err, fails) {
		t.Fatalf("a migration that fails: %v", err)
	}
	version(t, p, 4)
	var owners, repos int
	count := func(wantOwners, wantRepos int) {
		t.Helper()
		if err := db.QueryRow("SELECT (SELECT count(*) FROM g_owners), (SELECT count(*) FROM g_repos)").Scan(&owners, &repos); err != nil || owners != wantOwners || repos != wantRepos {
			t.Fatalf("%d owners, %d repos, %v; want %d, %d", owners, repos, err, wantOwners, wantRepos)
		}
	}
	count(2, 2)
	broken = false
	if results, err := p.Up(t.Context()); err != nil || len(results) != 1 {
		t.Fatal(results, err)
	}
	version(t, p, 5)
	count(3, 3)
	if _, err := p.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	version(t, p, 4)
	count(2, 2)
	if _, err := p.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	version(t, p, 0)
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	status, err := p.Status(t.Context())
	if err != nil || len(status) != 5 || status[4].State != goose.StateApplied {
		t.Fatal(status, err)
	}
	if _, err := p.DownTo(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

// Programs that begin at the same time each ask for all migrations: those that come too late find them done or are refused,
// and nothing is done twice.
func TestTogether(t *testing.T) {
	db := open(t)
	p := provider(t, db)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			_, _ = provider(t, open(t)).Up(t.Context()) // whoever is late
		})
	}
	group.Wait()
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	var repos int
	if err := db.QueryRow("SELECT count(*) FROM g_repos").Scan(&repos); err != nil || repos != 2 {
		t.Fatal(repos, err)
	}
}
