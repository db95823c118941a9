//go:build figures && linux

package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// TestFigureSnapshot measures snapshots of a database of RSQLD_BYTES (268435456) between processes, beside 16 writers: one
// for a new learner; one whose receiver is killed three times on the way; one for a replica that was away while some rows
// were changed, in one place and all over. RSQLD_CSV names a file whose rows fill the database; without it they are made.
func TestFigureSnapshot(t *testing.T) {
	size := 256 << 20
	if text := os.Getenv("RSQLD_BYTES"); text != "" {
		if _, err := fmt.Sscan(text, &size); err != nil {
			t.Fatal(err)
		}
	}
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	fillCities(t, leader, size)
	leader.exec("create table load(k integer primary key, b)")
	outgrowLog(t, leader)
	settle(t, nodes...)
	f := snapshotFigure{t: t, nodes: nodes, leader: leader}
	f.writing(func() {
		f.phase("before", func() { <-time.After(20 * time.Second) })
		n4 := newProcess(t, "n4", "--learner").joins(nodes[0], leader)
		f.phase("joining", func() { f.join(n4) })
		n5 := newProcess(t, "n5", "--learner").joins(nodes[0], leader)
		f.phase("cut", func() { f.cut(n5) })
		f.away(n4, "in_one_place", "id between 100000 and 150000")
		f.away(n4, "all_over", "id in (with recursive n(i) as (select 77 union all select i + 1000 from n where i < 1000000) select i from n)")
		f.phase("after", func() { <-time.After(10 * time.Second) })
	})
}

// fillCities makes a table of places with an index that is as large as asked for.
func fillCities(t *testing.T, leader *process, size int) {
	t.Helper()
	if file := os.Getenv("RSQLD_CSV"); file != "" {
		if out, code := rsqldWithin(t, 20*patience, "", "sql", leader.address, "--cred", adminOf(leader), "-c", ".import --csv "+file+" seed"); code != 0 {
			t.Fatalf("import exits with %d:\n%s", code, out)
		}
	} else {
		leader.exec("create table seed(name, lat, lng, country, admin1, admin2)",
			`insert into seed with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
			select printf('Place of %x', abs(random() % 1000000)), random() % 90, random() % 180, char(65 + i % 26, 65 + i % 7), printf('%02d', i % 37), '' from n`)
	}
	leader.exec("create table cities(id integer primary key, name, lat, lng, country, admin1, admin2)", "create index by_country on cities(country)")
	for {
		leader.exec("insert into cities(name, lat, lng, country, admin1, admin2) select * from seed")
		if pages := leader.value("select page_count from pragma_page_count").(int64); int(pages)*4096 >= size {
			return
		}
	}
}

// outgrowLog writes nothing into the database, at such length that no log reaches back to what was before.
func outgrowLog(t *testing.T, leader *process) {
	t.Helper()
	text := strings.Repeat("x", 4<<20)
	err := withConn(t.Context(), leader.config(), func(c *driver.Conn) error {
		for range 30 {
			if _, err := query(t.Context(), c, driver.LevelSession, "insert into load(b) select 1 where length(?) < 0", text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// snapshotFigure is what the phases share.
type snapshotFigure struct {
	t      *testing.T
	nodes  []*process
	leader *process
	times  latencies
}

// writing lets 16 writers write meanwhile.
func (f *snapshotFigure) writing(do func()) {
	ctx, cancel := context.WithCancel(f.t.Context())
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() { loadWriter(ctx, f.t, f.nodes[i%len(f.nodes)], &f.times) })
	}
	do()
	cancel()
	group.Wait()
}

// phase prints what writers saw while something was done.
func (f *snapshotFigure) phase(name string, do func()) {
	f.t.Helper()
	terms := f.term()
	f.times.take()
	began := time.Now()
	do()
	took, all := time.Since(began), f.times.take()
	if len(all) == 0 {
		f.t.Fatalf("nothing was written in %v", took)
	}
	fmt.Printf("figure=snapshot phase=%s seconds=%.1f writes_per_second=%.0f median=%v p99=%v max=%v elections=%d\n", name, took.Seconds(),
		float64(len(all))/took.Seconds(), quantile(all, 0.5), quantile(all, 0.99), all[len(all)-1], f.term()-terms)
}

func (f *snapshotFigure) term() (term int64) {
	f.leader.eventually("to know a term", func(ctx context.Context) error {
		return withConn(ctx, f.leader.config(), func(c *driver.Conn) error {
			rows, err := control(ctx, c, "status")
			for _, row := range rows {
				if row[0] == "term" {
					term, err = strconv.ParseInt(fmt.Sprint(row[1]), 10, 64)
				}
			}
			return err
		})
	})
	return term
}

// join measures the snapshot of a new learner, and the memory of both sides.
func (f *snapshotFigure) join(p *process) {
	before := [2]int{memory(f.t, f.leader, "RssAnon"), memory(f.t, f.leader, "VmHWM")}
	p.launch()
	most := [2]int{}
	f.await(p, 1, func() {
		most[0], most[1] = max(most[0], memory(f.t, f.leader, "RssAnon")), max(most[1], memory(f.t, p, "RssAnon"))
	})
	f.report("join", p, 1)
	fmt.Printf("figure=snapshot memory sender_anon_before_MB=%d sender_anon_most_MB=%d receiver_anon_most_MB=%d sender_hwm_before_MB=%d sender_hwm_MB=%d receiver_hwm_MB=%d\n",
		before[0]>>10, most[0]>>10, most[1]>>10, before[1]>>10, memory(f.t, f.leader, "VmHWM")>>10, memory(f.t, p, "VmHWM")>>10)
}

// cut kills the receiver whenever another quarter is there, three times.
func (f *snapshotFigure) cut(p *process) {
	p.launch()
	for quarter := int64(1); quarter <= 3; quarter++ {
		eventuallyWithin(f.t, 10*patience, "another quarter to be there", func(context.Context) error {
			there, whole := arrived(p)
			if whole == 0 || there < whole*quarter/4 {
				return fmt.Errorf("%d of %d bytes", there, whole)
			}
			return nil
		})
		p.kill()
		p.launch()
	}
	f.await(p, 1, func() {})
	f.report("cut", p, 1)
}

// away measures the snapshot of a replica that was away while rows were changed, and those that the writers wrote.
func (f *snapshotFigure) away(p *process, name, rows string) {
	p.kill()
	<-time.After(2 * time.Second) // the others take note
	f.leader.exec("update cities set lat = lat + 1 where " + rows)
	outgrowLog(f.t, f.leader)
	<-time.After(2 * time.Second) // the log is cut
	before := installed(p)
	skip := len(transfers(f, p))
	f.phase("away_"+name, func() {
		p.launch()
		f.await(p, before+1, func() {})
	})
	fmt.Printf("figure=snapshot change=%s rows=%d\n", name, f.leader.value("select count(*) from cities where "+rows))
	f.report("away_"+name, p, skip+1)
}

// await waits until a node has installed so many snapshots.
func (f *snapshotFigure) await(p *process, count int, meanwhile func()) {
	f.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(10 * time.Minute); installed(p) < count; <-ticker.C {
		if meanwhile(); time.Now().After(end) {
			f.t.Fatalf("no snapshot was installed:\n%s", tail(p.logs.String(), 20))
		}
	}
	p.await()
}

func installed(p *process) int { return strings.Count(p.logs.String(), `msg="snapshot installed"`) }

var (
	travelled = regexp.MustCompile(`msg="what travelled of a snapshot" .*`)
	field     = regexp.MustCompile(`(\w+)=(\S+)`)
)

// transfers are the transfers to a node, as their senders tell of them.
func transfers(f *snapshotFigure, p *process) (all []map[string]string) {
	id := ""
	for _, m := range regexp.MustCompile(`msg="node is up" .*`).FindAllString(p.logs.String(), -1) {
		for _, kv := range field.FindAllStringSubmatch(m, -1) {
			if kv[1] == "node" {
				id = kv[2]
			}
		}
	}
	for _, sender := range f.nodes {
		for _, line := range travelled.FindAllString(sender.logs.String(), -1) {
			fields := make(map[string]string)
			for _, kv := range field.FindAllStringSubmatch(line, -1) {
				fields[kv[1]] = kv[2]
			}
			if fields["peer"] == id {
				all = append(all, fields)
			}
		}
	}
	return all
}

// report prints the transfers to a node from one on, and their sum.
func (f *snapshotFigure) report(name string, p *process, from int) {
	f.t.Helper()
	var differing, wire, bytes float64
	var took time.Duration
	number := func(text string) float64 {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			f.t.Error(err)
		}
		return value
	}
	for _, fields := range transfers(f, p)[from-1:] {
		dur, err := time.ParseDuration(fields["dur"])
		if err != nil {
			f.t.Error(err)
		}
		fmt.Printf("figure=snapshot transfer=%s index=%s bytes=%s differing=%s wire=%s whole=%s seconds=%.2f\n", name, fields["index"], fields["bytes"],
			fields["differing"], fields["wire"], fields["whole"], dur.Seconds())
		differing, wire, took, bytes = differing+number(fields["differing"]), wire+number(fields["wire"]), took+dur, number(fields["bytes"])
	}
	fmt.Printf("figure=snapshot transfer=%s MB=%.1f differing_MB=%.1f wire_MB=%.1f seconds=%.2f MB_per_second=%.0f\n", name, bytes/1e6, differing/1e6, wire/1e6,
		took.Seconds(), differing/1e6/took.Seconds())
}

// arrived returns how many bytes of a snapshot have room on a node's disk, and how many there will be.
func arrived(p *process) (there, whole int64) {
	names, err := filepath.Glob(filepath.Join(p.data, "snapshots", "incoming-*.sqlite"))
	if err != nil || len(names) == 0 {
		return 0, 0
	}
	file, err := os.Stat(names[0])
	if err != nil {
		return 0, 0
	}
	return file.Sys().(*syscall.Stat_t).Blocks * 512, file.Size()
}

// memory returns a figure of /proc/<pid>/status in KiB: VmHWM is the largest resident set, which counts pages of files too.
func memory(t *testing.T, p *process, what string) (kib int) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0 // it has not begun, or was killed
	}
	_, rest, found := strings.Cut(string(text), what+":")
	if _, err := fmt.Sscan(rest, &kib); !found || err != nil {
		t.Errorf("%s: %v", what, err)
	}
	return kib
}
