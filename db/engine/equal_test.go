package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/sqlite"
)

// replica says how one copy of the database gets its entries: all that may differ between the nodes of a cluster.
type replica struct {
	name string
	// batch is how many entries a call of Apply gets, at most.
	batch int
	// restarts is how many entries it applies between two restarts on average, zero for none. Batches end at random
	// entries then.
	restarts int
	// snapshots says that it begins again in the middle, in a new directory, with a snapshot of itself.
	snapshots bool
	// cachePages is the writer's page cache; zero is what the program uses.
	cachePages int
	// overwrite makes SQLite overwrite what is deleted (PRAGMA secure_delete).
	overwrite bool
	// leftOut are the ingredients that it does without.
	leftOut ingredient
}

// replicas are the four that every log is applied by. The first one is what the others are held against.
var replicas = []replica{
	{name: "one by one", batch: 1},
	{name: "17", batch: 17, restarts: 60, cachePages: 10},
	{name: "500", batch: 500, restarts: 900, cachePages: 100},
	{name: "61", batch: 61, restarts: 150, snapshots: true, cachePages: 1000},
}

// outcome is what applying a log came to.
type outcome struct {
	results []*Result
	chain   Chain
	content string
	file    string // of the closed database
	// err is why the engine itself stopped: it noticed that it was not deterministic.
	err error
}

// run applies the log on a new database. Between any two batches the replica may be stopped and opened again; this is
// where one that is begun from a snapshot takes the place of one that is restarted.
func (r replica) run(t testing.TB, l *log) (o outcome) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(r.batch), 1))
	e := r.open(t, Config{StageDir: l.stageDir})
	for applied := 0; applied < len(l.entries); applied = int(e.Applied()) {
		batch := l.entries[applied:min(applied+r.batch, len(l.entries))]
		if r.restarts > 0 && random.IntN(2) == 0 {
			batch = batch[:1+random.IntN(len(batch))]
		}
		if !r.uses(ingredientClock) {
			e.writer.clock.SetUnixNano(time.Now().UnixNano())
		}
		got, err := e.Apply(batch)
		if err != nil {
			o.err = fmt.Errorf("replica %s stopped at entry %d (%s): %w", r.name, e.Applied()+1, l.text(int(e.Applied())), err)
			return o
		}
		for _, one := range got {
			result, _ := one.(*Result)
			o.results = append(o.results, result)
		}
		if r.restarts > 0 && random.IntN(r.restarts) < len(batch) {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = r.open(t, Config{Dir: e.config.Dir, StageDir: l.stageDir})
		}
		if r.snapshots && applied < len(l.entries)/2 && int(e.Applied()) >= len(l.entries)/2 {
			e = r.moved(t, e)
		}
	}
	o.chain = e.Chain()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	o.file = e.file()
	o.content = contentHash(t, o.file)
	return o
}

// moved closes e and returns a new engine with its content.
func (r replica) moved(t testing.TB, e *Engine) *Engine {
	t.Helper()
	image, next := snapshotOf(t, e), r.open(t, Config{StageDir: e.config.StageDir})
	if err := next.Restore(image.Meta(), delivered(t, image, next.config.SnapshotDir)); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return r.open(t, Config{Dir: r.closed(t, next)})
}

// closed closes e and returns its directory.
func (r replica) closed(t testing.TB, e *Engine) string {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return e.config.Dir
}

func (r replica) uses(i ingredient) bool { return r.leftOut&i == 0 }

func (r replica) open(t testing.TB, config Config) *Engine {
	t.Helper()
	e := openEngine(t, config)
	e.writer.leftOut = r.leftOut
	if r.cachePages > 0 {
		if err := e.writer.conn.Exec(fmt.Sprintf("PRAGMA cache_size=%d", r.cachePages)); err != nil {
			t.Fatal(err)
		}
	}
	if r.overwrite {
		if err := e.writer.conn.Exec("PRAGMA secure_delete=1"); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// difference says in what two outcomes differ; empty is in nothing.
func (l *log) difference(got, want outcome) string {
	if got.err != nil || want.err != nil {
		return fmt.Sprintf("errors %v and %v", got.err, want.err)
	}
	for i := range want.results {
		if !reflect.DeepEqual(got.results[i], want.results[i]) {
			return fmt.Sprintf("entry %d (%s):\n got %+v\nwant %+v", i+1, l.text(i), got.results[i], want.results[i])
		}
	}
	if got.chain != want.chain || got.content != want.content {
		return fmt.Sprintf("chain %v and content %.8s, want %v and %.8s", got.chain, got.content, want.chain, want.content)
	}
	return ""
}

// mustBeEqual applies the log on all replicas and returns what came out on each.
func (l *log) mustBeEqual(t testing.TB) outcome {
	t.Helper()
	want := replicas[0].run(t, l)
	if want.err != nil {
		t.Fatal(want.err)
	}
	for _, r := range replicas[1:] {
		if differs := l.difference(r.run(t, l), want); differs != "" {
			t.Fatalf("replica %s: %s", r.name, differs)
		}
	}
	return want
}

// contentHash hashes every row of every table with its rowid, by an own connection to a closed database.
func contentHash(t testing.TB, file string) string {
	t.Helper()
	conn, err := sqlite.Open(file, sqlite.ReaderOptions())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var tables []string
	hash := sha256.New()
	must := func(sql string, row func(*sqlite.Stmt) error) {
		if err := queryInternal(conn, sql, row); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	must("select name, type, sql, rootpage from sqlite_schema order by name, type", func(s *sqlite.Stmt) error {
		if s.ColumnText(1) == "table" {
			tables = append(tables, s.ColumnText(0))
		}
		_, err := fmt.Fprintf(hash, "%s %s %s %d\n", s.ColumnText(0), s.ColumnText(1), s.ColumnText(2), s.ColumnInt64(3))
		return err
	})
	for _, table := range tables {
		fmt.Fprintln(hash, table)
		sql := fmt.Sprintf("select rowid, * from %q", table)
		if _, _, err := conn.Prepare(sql); err != nil { // WITHOUT ROWID
			sql = fmt.Sprintf("select * from %q", table)
		}
		var packed []byte
		must(sql, func(s *sqlite.Stmt) error {
			packed = appendRow(packed[:0], s, s.ColumnCount())
			_, err := hash.Write(packed)
			return err
		})
	}
	must("pragma integrity_check", func(s *sqlite.Stmt) error {
		if found := s.ColumnText(0); found != "ok" {
			t.Errorf("integrity check: %s", found)
		}
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil))
}

// powers counts how many entries failed and with which codes, so that a workload can be seen to prove something.
func (o outcome) powers() (failed int, codes []int) {
	for _, r := range o.results {
		if r != nil && r.Err != nil {
			failed++
			codes = append(codes, r.Extended)
		}
	}
	slices.Sort(codes)
	return failed, slices.Compact(codes)
}

// Replicas that apply the same hostile entries in batches of other sizes, with other caches and with restarts between
// them, have the same result of each entry, the same chain and the same rows.
func TestEqualHostile(t *testing.T) {
	o := hostileLog(t, 600).mustBeEqual(t)
	if failed, codes := o.powers(); failed < 100 || failed > 450 || len(codes) < 6 {
		t.Errorf("%d of %d entries failed, with codes %v: the workload proves little", failed, len(o.results), codes)
	}
}

// With one ingredient of determinism left out the replicas differ, or one notices by itself: the tests of equality have
// power against each.
func TestEqualFailsWithout(t *testing.T) {
	l := hostileLog(t, 300)
	l.script(strings.Repeat("insert into t(a, at) values('late', strftime('%f'));", 3))
	staleStatistics(l)
	for i, name := range []string{"the clock", "the seed", "the state reset", "the check of foreign keys", "the schema read anew", "the veto"} {
		without := ingredient(1) << i
		want := replica{name: "one by one", batch: 1, leftOut: without}.run(t, l)
		other := replica{name: "25", batch: 25, restarts: 40, leftOut: without}.run(t, l)
		if differs := l.difference(other, want); differs == "" {
			t.Errorf("without %s nothing differs", name)
		}
	}
}

// staleStatistics adds entries whose rows depend on the statistics in memory being those of the file.
func staleStatistics(l *log) {
	l.script("create table s(id integer primary key, a, b); create table chosen(id)",
		`insert into s with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)
			select i, case when i > 2990 or i % 400 = 1 then 1 else i end, i % 2 from n order by i * 7919 % 3001`,
		"create index s_a on s(a, id desc); create index s_b on s(b)")
	for range 12 {
		l.script("analyze; insert into absent values(1)")
		l.script("insert into chosen select id from s where a = 1 and b = 1 limit 5")
	}
}
