package db_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// sqliteFile makes a database as another program would.
func sqliteFile(t testing.TB, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.db")
	conn, err := sqlite.Open(path, sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range statements {
		if err := conn.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// prepared is a file that is ready to be uploaded.
type prepared struct {
	content []byte
	args    []string // SHA-256 and size
}

func prepare(t testing.TB, source string) prepared {
	t.Helper()
	r, err := db.PrepareRestore(t.Context(), source, filepath.Join(t.TempDir(), "prepared"))
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	return named(content)
}

func named(content []byte) prepared {
	return prepared{content, []string{fmt.Sprintf("%x", sha256.Sum256(content)), fmt.Sprint(len(content))}}
}

// piece uploads the bytes of p from one place to another and returns how many are there then.
func (p prepared) piece(t testing.TB, conn *driver.Conn, from, to int) (string, error) {
	t.Helper()
	rows, err := control(t, conn, "upload", append(p.args, fmt.Sprint(from), base64.StdEncoding.EncodeToString(p.content[from:to]))...)
	return fmt.Sprint(rows), err
}

func (p prepared) upload(t testing.TB, conn *driver.Conn) {
	t.Helper()
	for from := 0; from < len(p.content); from += db.MaxUploadPiece {
		to := min(from+db.MaxUploadPiece, len(p.content))
		if have, err := p.piece(t, conn, from, to); err != nil || have != fmt.Sprintf("[[%d]]", to) {
			t.Fatal(have, err)
		}
	}
}

// A file that was uploaded takes the place of what was there, and what the cluster knows of itself stays: settings, members, and
// the newest write of a session. It can be uploaded in pieces that come twice, and by a client that comes back.
func TestRestore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	mustRun(t, conn, "create table gone(x); insert into gone values(1)")
	if _, err := control(t, conn, "set", "sql.max_rows=777"); err != nil {
		t.Fatal(err)
	}
	p := prepare(t, sqliteFile(t, "create table t(x)", "insert into t(rowid, x) values(7, zeroblob(2500000))", "pragma user_version=5"))
	half := db.MaxUploadPiece
	for step, want := range []string{fmt.Sprintf("[[%d]]", half), fmt.Sprintf("[[%d]]", half)} {
		if have, err := p.piece(t, conn, 0, half); err != nil || have != want {
			t.Errorf("piece %d: %s, %v; want %s", step, have, err, want)
		}
	}
	if have, err := control(t, conn, "upload", p.args...); err != nil || fmt.Sprint(have) != fmt.Sprintf("[[%d]]", half) {
		t.Errorf("a client that comes back is told %v, %v", have, err)
	}
	if _, err := control(t, conn, "restore", p.args...); err == nil || !strings.Contains(err.Error(), "not all of it") {
		t.Errorf("restoring half a file: %v", err)
	}
	for from := half; from < len(p.content); from += half {
		if _, err := p.piece(t, conn, from, min(from+half, len(p.content))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := control(t, conn, "restore", p.args...); err != nil {
		t.Fatal(err)
	}
	expect(t, conn, driver.Request{SQL: "select t.rowid, length(x), (select count(*) from sqlite_schema where name = 'gone'), user_version from t, pragma_user_version"}, "[[7 2500000 0 5]]")
	if got := n.Status().Settings["sql.max_rows"]; got != "777" {
		t.Errorf("the setting is %q", got)
	}
	mustRun(t, conn, "insert into t(x) values('next')")
	expect(t, conn, driver.Request{SQL: "select max(rowid) from t"}, "[[8]]")
	if left, _ := filepath.Glob(filepath.Join(dir, "restore", "*")); len(left) != 2 {
		t.Errorf("beside the file and its entry there is %v", left)
	}
	if _, err := control(t, conn, "restore", p.args...); err != nil { // it is there already
		t.Fatal(err)
	}
	expect(t, conn, driver.Request{SQL: "select max(rowid) from t"}, "[[7]]")
}

// What is no file of PrepareRestore's changes nothing and is removed; so is one that is not what its hash says. Only an
// administrator restores, and nobody in a transaction.
func TestRestoreRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	mustRun(t, conn, "create table kept(x); insert into kept values(1)")
	before := n.Status().Raft.Applied
	raw, err := os.ReadFile(sqliteFile(t, "create table _rsqld_tokens(x)"))
	if err != nil {
		t.Fatal(err)
	}
	wrong := prepare(t, sqliteFile(t, "create table t(x)"))
	wrong.args[0] = strings.Repeat("00", sha256.Size)
	for want, p := range map[string]prepared{
		"no SQLite database": named([]byte("id,name\n1,x, and so on for longer than a header\n")),
		"auto_vacuum is 0":   named(raw),
		"damaged on its way": wrong,
	} {
		p.upload(t, conn)
		if _, err := control(t, conn, "restore", p.args...); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("want %q: %v", want, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "restore", "*")); len(left) != 0 {
			t.Errorf("%s: %v is left", want, left)
		}
	}
	p := prepare(t, sqliteFile(t, "create table t(x)"))
	for want, args := range map[string][]string{
		"no SHA-256":          {"restore", "abc", "1"},
		"no size":             {"restore", p.args[0], "-1"},
		"not here":            {"restore", p.args[0], p.args[1]},
		"no place in a file":  {"upload", p.args[0], p.args[1], "x", ""},
		"base64":              {"upload", p.args[0], p.args[1], "0", "%"},
		"or neither":          {"upload", p.args[0], p.args[1], "0"},
		"no command that":     {"staged", p.args[0], p.args[1], "0"},
		"goes beyond the end": {"upload", p.args[0], "3", "0", base64.StdEncoding.EncodeToString(p.content)},
	} {
		if _, err := control(t, conn, args[0], args[1:]...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	path := filepath.Join(t.TempDir(), "writer.pem")
	if err := os.WriteFile(path, credential(t, dir, identity.RoleWrite).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	writer := openAs(t, n, driver.Config{Credential: path})
	for _, verb := range []string{"upload", "restore"} {
		if _, err := control(t, writer, verb, p.args...); !isDenied(err) {
			t.Errorf("%s with role write: %v", verb, err)
		}
	}
	if after := n.Status().Raft.Applied; after != before {
		t.Errorf("the index went from %d to %d", before, after)
	}
	expect(t, conn, driver.Request{SQL: "select * from kept"}, "[[1]]")
}

// A node takes four files in part; a fifth is refused as long as each of them gets pieces, and then takes the place of the one
// that waits for longest.
func TestUploadsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	conn := open(t, openNode(t, dir), dir)
	begin := func(i int) error {
		p := named([]byte(strings.Repeat(fmt.Sprint(i), 100)))
		_, err := p.piece(t, conn, 0, 50)
		return err
	}
	for i := range 4 {
		if err := begin(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin(4); !errors.Is(err, driver.ErrBusy) || !strings.Contains(err.Error(), "too many unfinished uploads") {
		t.Errorf("the fifth: %v", err)
	}
	partials, _ := filepath.Glob(filepath.Join(dir, "restore", "*.partial"))
	old := time.Now().Add(-11 * time.Minute)
	if err := os.Chtimes(partials[2], old, old); err != nil {
		t.Fatal(err)
	}
	if err := begin(4); err != nil {
		t.Errorf("the fifth when one was left alone: %v", err)
	}
	if _, err := os.Stat(partials[2]); err == nil {
		t.Error("the one that was left alone is still there")
	}
}

// A restore does not run inside a transaction, and one that others have open ends first or is undone.
func TestRestoreAndTransactions(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	p := prepare(t, sqliteFile(t, "create table t(x)"))
	p.upload(t, conn)
	r := greeted(t, n, dir)
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	r.in("create table mine(x)").well(t, isOpen)
	r.id++
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Id: r.id, Verb: "restore", Args: p.args}}})
	if a := r.answer(); a.err == nil || !strings.Contains(a.err.Message, "inside a transaction") {
		t.Fatalf("inside a transaction: %v", a.err)
	}
	restored := make(chan error, 1)
	go func() {
		_, err := control(t, conn, "restore", p.args...)
		restored <- err
	}()
	r.in("insert into mine values(1)").well(t, isOpen)
	r.commit(1).well(t, isNone)
	if err := <-restored; err != nil {
		t.Fatal(err)
	}
	expect(t, conn, driver.Request{SQL: "select group_concat(name) from sqlite_schema where name in ('t', 'mine')"}, "[[t]]")
}
