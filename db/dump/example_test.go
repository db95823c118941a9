package dump_test

import (
	"context"
	"log"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/db/dump"
	"github.com/rsqld/rsqld/db/sqlite"
)

// A database becomes a script.
func ExampleWrite() {
	dir, err := os.MkdirTemp("", "dump")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	conn, err := sqlite.Open(filepath.Join(dir, "main.sqlite"), sqlite.Options{Create: true})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("create table t(id integer primary key, x); insert into t values(1, 'it''s'), (2, 0.1)"); err != nil {
		log.Fatal(err)
	}
	if err := dump.Write(context.Background(), conn, os.Stdout, dump.Options{}); err != nil {
		log.Fatal(err)
	}
	// Output:
	// PRAGMA foreign_keys=OFF;
	// BEGIN TRANSACTION;
	// CREATE TABLE t(id integer primary key, x);
	// INSERT INTO "t"("id","x") VALUES(1,'it''s');
	// INSERT INTO "t"("id","x") VALUES(2,0.1);
	// COMMIT;
}
