package db_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/identity"
)

// A dump is the text of all tables, or of those that were named, as of one index; role read may have it, and sees nothing of
// rsqld's own tables in it.
func TestDump(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := openNode(t, dir)
	mustRun(t, open(t, n, dir), "create table t(x); create table other(y); insert into t values(1), ('two')")
	path := filepath.Join(t.TempDir(), "reader.pem")
	if err := os.WriteFile(path, credential(t, dir, identity.RoleRead).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	conn := openAs(t, n, driver.Config{Credential: path})
	_, content, err := export(t, conn, "dump")
	head, script, _ := strings.Cut(string(content), "\n")
	const want = `PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE t(x);
INSERT INTO "t"(rowid,"x") VALUES(1,1);
INSERT INTO "t"(rowid,"x") VALUES(2,'two');
CREATE TABLE other(y);
COMMIT;
`
	if err != nil || script != want || !strings.HasPrefix(head, "-- rsqld ") || !strings.Contains(head, " as of index ") {
		t.Errorf("%v\n%s\n%s", err, head, script)
	}
	_, content, err = export(t, conn, "dump", "local", "OTH%")
	if err != nil || strings.Contains(string(content), "TABLE t") || !strings.Contains(string(content), "TABLE other") {
		t.Errorf("of one table: %v\n%s", err, content)
	}
	if _, _, err := export(t, conn, "backup"); !isDenied(err) {
		t.Errorf("a backup with role read: %v", err)
	}
}
