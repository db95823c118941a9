package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestTraces runs the scripts of testdata, whose expected output is everything that the nodes do. Run it with -rewrite
// after a change and read the difference. The commands are the methods of script.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{t: t, cut: map[[2]ID]bool{}}
		datadriven.RunTest(t, path, s.run)
	})
}

// script is one cluster with a trace of what it does.
type script struct {
	t testing.TB
	*cluster
	cut    map[[2]ID]bool
	copies []Message
	out    strings.Builder
	quiet  bool
}

func (s *script) printf(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(&s.out, format+"\n", args...)
	}
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	s.quiet = d.HasArg("quiet")
	s.t = t
	switch d.Cmd {
	case "cluster": // voters=(1,2) [learners=(3)] [limits]
		s.open(d, newCluster(t, 1, limits(d), configurationOf(s.t, d)))
	case "logs": // voters=(…), input lines "id term: terms of entries 1, 2, …"
		s.open(d, s.craft(d))
	case "join": // id: a node that knows nothing yet
		s.add(idArg(d, 0), 1, limits(d), disk{}).start(t)
	case "status":
		s.status()
	case "show-logs":
		s.showLogs()
	case "cut": // 1-2 …: no message passes between the two; 1>2: in that direction
		s.cutLinks(d)
	case "heal":
		clear(s.cut)
	case "settle":
		s.settle(s.lost)
	case "lose": // heartbeat: loses what is on its way of that kind
		s.lose(d.CmdArgs[0].Key)
	case "copy": // append: keeps a double of what is on its way of that kind
		for _, msg := range s.mail {
			if ofKind(msg, d.CmdArgs[0].Key) {
				s.copies = append(s.copies, msg)
			}
		}
	case "replay": // the doubles arrive, now
		s.replay()
	case "tick": // n
		s.tick(int(idArg(d, 0)), s.lost)
	default:
		s.runOne(d)
	}
	return s.out.String()
}

// runOne runs the commands whose first argument names a node.
func (s *script) runOne(d *datadriven.TestData) {
	m := s.member(idArg(d, 0))
	var err error
	switch d.Cmd {
	case "timeout":
		s.timeout(m.id)
	case "tick-one": // id n
		for range idArg(d, 1) {
			m.node.Tick()
		}
	case "ready": // one Ready, nothing else
		s.process(m)
	case "disk": // one write completes
		s.finish(m)
	case "mail": // to=id: delivers what is on its way to one node, lose=true: loses it
		s.deliverTo(m.id, d.HasArg("lose"))
	case "stall":
		m.stalled = !m.stalled
	case "propose":
		var data [][]byte
		for _, arg := range d.CmdArgs[1:] {
			data = append(data, []byte(arg.Key))
		}
		_, err = m.node.Propose(0, data...)
	case "read":
		err = m.node.Read(ReadID(idArg(d, 1)))
	case "transfer":
		err = m.node.Transfer(idArg(d, 1))
	case "add":
		_, err = m.node.Change(Membership{AddLearners: []ID{idArg(d, 1)}})
	case "promote":
		_, err = m.node.Change(Membership{Promote: []ID{idArg(d, 1)}})
	case "remove":
		_, err = m.node.Change(Membership{Remove: []ID{idArg(d, 1)}})
	case "change": // id add=(…) promote=(…) demote=(…) remove=(…)
		_, err = m.node.Change(membershipOf(s.t, d))
	case "slow-rounds": // leader learner n: the learner's disk takes longer than T for each of n entries
		s.slowRounds(m, s.member(idArg(d, 1)), int(idArg(d, 2)))
	case "compact":
		m.node.Compact(Index(idArg(d, 1)))
		m.disk.compact(Index(idArg(d, 1)))
	case "install": // id from: the content of from's state machine is at hand
		m.arriving = s.member(idArg(d, 1)).base()
		err = m.node.Install(m.arriving)
	case "installed": // id: it is in the place of the state machine
		m.installed()
	case "snapshot-sent": // leader id [failed]
		m.node.SnapshotSent(idArg(d, 1), !d.HasArg("failed"))
	case "unreachable":
		m.node.Unreachable(idArg(d, 1))
	case "unfit":
		m.node.SetFit(false)
	case "crash":
		m.node = nil
	case "start":
		m.start(s.t)
	default:
		d.Fatalf(s.t, "unknown command")
	}
	if err != nil {
		s.printf("error: %v", err)
	}
}

func (s *script) open(d *datadriven.TestData, c *cluster) {
	s.cluster = c
	c.ready, c.sent, c.wrote = s.showReady, s.showSent, s.showWrote
	if d.HasArg("settle") {
		s.quiet = true
		s.settle(nil)
	}
}

// craft makes a cluster of nodes that have the logs given. Entry 1 is the configuration.
func (s *script) craft(d *datadriven.TestData) *cluster {
	c := &cluster{t: s.t}
	for line := range strings.Lines(d.Input) {
		head, terms, _ := strings.Cut(strings.TrimSpace(line), ":")
		id, term, _ := strings.Cut(head, " ")
		image := found(configurationOf(s.t, d))
		image.hard.Term = Term(number(s.t, term))
		for i, term := range strings.Fields(terms)[1:] {
			id := EntryID{Term(number(s.t, term)), Index(i + 2)}
			image.entries = append(image.entries, Entry{id, EntryCommand, []byte(id.String())})
		}
		c.add(ID(number(s.t, id)), 1, limits(d), image).start(s.t)
	}
	return c
}

func (s *script) lost(m Message) bool {
	e := m.Header()
	if s.cut[[2]ID{e.From, e.To}] {
		s.printf("      lost %s", describe(m))
		return true
	}
	return false
}

func (s *script) cutLinks(d *datadriven.TestData) {
	for _, arg := range d.CmdArgs {
		a, b, both := strings.Cut(arg.Key, "-")
		if !both {
			a, b, _ = strings.Cut(arg.Key, ">")
		}
		from, to := ID(number(s.t, a)), ID(number(s.t, b))
		s.cut[[2]ID{from, to}] = true
		if both {
			s.cut[[2]ID{to, from}] = true
		}
	}
}

func (s *script) deliverTo(id ID, lose bool) {
	mail := s.mail
	s.mail = nil
	for _, msg := range mail {
		switch {
		case msg.Header().To != id:
			s.mail = append(s.mail, msg)
		case lose:
			s.printf("      lost %s", describe(msg))
		default:
			if err := s.deliver(msg); err != nil {
				s.printf("%d ignores %s: %v", id, describe(msg), err)
			}
		}
	}
}

func (s *script) lose(kind string) {
	s.mail = slices.DeleteFunc(s.mail, func(m Message) bool {
		lost := ofKind(m, kind)
		if lost {
			s.printf("      lost %s", describe(m))
		}
		return lost
	})
}

func ofKind(m Message, kind string) bool { return strings.Contains(describe(m), " "+kind+" ") }

// replay delivers the doubles and shows what became of them.
func (s *script) replay() {
	for _, msg := range s.copies {
		if err := s.deliver(msg); err != nil {
			s.printf("%s: %v", describe(msg), err)
		} else {
			s.printf("%s: taken", describe(msg))
		}
	}
	s.copies = nil
}

// slowRounds shows the events of the leader only.
func (s *script) slowRounds(leader, learner *member, rounds int) {
	loud := s.quiet
	s.quiet = true
	leader.events = nil
	for range rounds {
		learner.stalled = true
		if _, err := leader.node.Propose(0, []byte("x")); err != nil {
			s.t.Fatal(err)
		}
		s.tick(leader.config.ElectionTicks+1, s.lost) // the round before ends with the first of these ticks
		learner.stalled = false
		s.settle(s.lost)
	}
	s.quiet = loud
	for _, e := range leader.events {
		s.printf("%d %s", leader.id, describeEvent(e))
	}
}

func (s *script) showReady(m *member, r *Ready) {
	for _, e := range r.Events {
		s.printf("%d %s", m.id, describeEvent(e))
	}
	if w := r.Write; w != nil {
		s.printf("%d write #%d term=%d vote=%d%s%s", m.id, w.Seq, w.HardState.Term, w.HardState.Vote,
			cond(w.Snapshot != nil, describeBase(w.Snapshot))+cond(w.TruncateFrom != 0, " cut from "+fmt.Sprint(w.TruncateFrom)), describeEntries(w.Entries))
	}
	if r.Commit.Len() > 0 {
		s.printf("%d apply %s", m.id, r.Commit)
	}
	for _, read := range r.Reads {
		if read.Err != nil {
			s.printf("%d read %d fails: %v", m.id, read.ID, read.Err)
		} else {
			s.printf("%d read %d at %d", m.id, read.ID, read.Index)
		}
	}
	for _, snapshot := range r.Snapshot {
		s.printf("%d snapshot for %d", m.id, snapshot.To)
	}
	for _, l := range r.Load {
		s.printf("%d load %s for %d", m.id, l.Range, l.To)
	}
}

func (s *script) showSent(_ *member, m Message) { s.printf("  %s", describe(m)) }
func (s *script) showWrote(m *member, w *Write) { s.printf("%d write #%d is durable", m.id, w.Seq) }

func (s *script) status() {
	for _, m := range s.members {
		if m.node == nil {
			s.printf("%d is down", m.id)
			continue
		}
		st := m.node.Status()
		s.printf("%d %s term=%d leader=%d commit=%d applied=%d last=%s %s@%d", st.ID, st.Role, st.Term, st.Leader,
			st.Commit, st.Applied, st.Last, st.Configuration, st.ConfigurationIndex)
		for _, p := range st.Peers {
			s.printf("  %d %s match=%d next=%d inflight=%d%s%s", p.ID, p.State, p.Match, p.Next, p.Inflight,
				cond(p.Learner, " learner"), cond(p.Learner && p.CaughtUp, " caught up"))
		}
	}
}

func (s *script) showLogs() {
	for _, m := range s.members {
		terms := make([]string, 0, len(m.disk.entries))
		for _, e := range m.disk.entries {
			terms = append(terms, fmt.Sprint(e.ID.Term))
		}
		s.printf("%d [%d]: %s", m.id, m.disk.base.Index, strings.Join(terms, " "))
	}
}

func describe(m Message) string {
	e := m.Header()
	head := fmt.Sprintf("%d>%d ", e.From, e.To)
	tail := fmt.Sprintf(" term=%d", e.Term)
	switch m := m.(type) {
	case Append:
		return head + "append" + tail + fmt.Sprintf(" prev=%s%s commit=%d%s", m.Prev, describeEntries(m.Entries), m.Commit, round(m.Round))
	case AppendAck:
		if m.Rejected {
			return head + "append-reject" + tail + fmt.Sprintf(" prev=%d hint=%s%s", m.Prev, m.Hint, round(m.Round))
		}
		return head + "append-ack" + tail + fmt.Sprintf(" match=%d%s", m.Match, round(m.Round))
	case Heartbeat:
		return head + "heartbeat" + tail + fmt.Sprintf(" commit=%d%s%s", m.Commit, round(m.Round), cond(m.Silent, " silent"))
	case HeartbeatAck:
		return head + "heartbeat-ack" + tail + round(m.Round)
	case Vote:
		return head + cond(m.Pre, "pre-") + "vote" + tail + fmt.Sprintf(" last=%s", m.Last) + cond(m.Transfer, " transfer")
	case VoteAck:
		if m.Granted {
			return head + cond(m.Pre, "pre-") + "vote-granted" + tail
		}
		return head + cond(m.Pre, "pre-") + "vote-refused" + tail
	case TimeoutNow:
		return head + "timeout-now" + tail
	case ReadIndex:
		return head + "read-index" + tail
	case ReadIndexAck:
		return head + "read-index-ack" + tail + fmt.Sprintf(" index=%d", m.Index) + cond(m.Rejected, " rejected")
	case Removed:
		return head + "removed" + tail + fmt.Sprintf(" index=%d", m.Index)
	}
	return fmt.Sprintf("%s%T", head, m)
}

func describeEvent(e Event) string {
	switch e := e.(type) {
	case RoleChanged:
		return fmt.Sprintf("is %s in term %d, leader %d (%s)", e.Role, e.Term, e.Leader, e.Why)
	case Voted:
		return fmt.Sprintf("votes for %d in term %d", e.For, e.Term)
	case Truncated:
		return fmt.Sprintf("cuts %s to %d", e.From, e.Last)
	case ConfigurationChanged:
		return fmt.Sprintf("configuration %s@%d", e.Configuration, e.Index)
	case SnapshotInstalled:
		return fmt.Sprintf("installs a snapshot of %s%s", e.Last, cond(e.Dropped != (EntryID{}), ", drops its log up to "+e.Dropped.String()))
	case Transferring:
		return fmt.Sprintf("transfers to %d", e.To)
	}
	return fmt.Sprintf("event %T%+v", e, e)
}

func describeBase(b *Base) string {
	if b == nil {
		return ""
	}
	return fmt.Sprintf(" begins after %s, %s@%d", b.Applied, b.Configuration, b.ConfigurationIndex)
}

func describeEntries(entries []Entry) string {
	if len(entries) == 0 {
		return ""
	}
	parts := make([]string, 0, len(entries))
	for _, e := range entries {
		switch e.Kind {
		case EntryCommand:
			parts = append(parts, fmt.Sprintf("%s %q", e.ID, e.Data))
		default:
			parts = append(parts, fmt.Sprintf("%s %s", e.ID, e.Kind))
		}
	}
	return " [" + strings.Join(parts, ", ") + "]"
}

func round(number uint64) string { return cond(number > 0, fmt.Sprintf(" round=%d", number)) }

func cond(ok bool, text string) string {
	if ok {
		return text
	}
	return ""
}

func number(t testing.TB, text string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func idArg(d *datadriven.TestData, at int) ID {
	n, err := strconv.ParseUint(d.CmdArgs[at].Key, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", d.Pos, err))
	}
	return ID(n)
}

// idsArg returns the ids of the argument key=(1,2,…).
func idsArg(t testing.TB, d *datadriven.TestData, key string) (ids []ID) {
	for _, arg := range d.CmdArgs {
		for _, value := range arg.Vals {
			if arg.Key == key {
				ids = append(ids, ID(number(t, value)))
			}
		}
	}
	return ids
}

func membershipOf(t testing.TB, d *datadriven.TestData) Membership {
	return Membership{
		AddLearners: idsArg(t, d, "add"), Promote: idsArg(t, d, "promote"),
		Demote: idsArg(t, d, "demote"), Remove: idsArg(t, d, "remove"),
	}
}

func configurationOf(t testing.TB, d *datadriven.TestData) Configuration {
	return Configuration{
		Voters: idsArg(t, d, "voters"), Outgoing: idsArg(t, d, "outgoing"), Learners: idsArg(t, d, "learners"),
		LearnersNext: idsArg(t, d, "learners-next"),
	}
}

func limits(d *datadriven.TestData) Config {
	c := Config{ElectionTicks: 10, HeartbeatTicks: 3}
	for _, arg := range d.CmdArgs {
		if len(arg.Vals) != 1 {
			continue
		}
		value, err := strconv.Atoi(arg.Vals[0])
		if err != nil {
			continue
		}
		switch arg.Key {
		case "message-bytes":
			c.MaxMessageBytes = value
		case "inflight":
			c.MaxInflightMessages = value
		case "tail-bytes":
			c.MaxTailBytes = value
		case "snapshots":
			c.Snapshots = value > 0
		}
	}
	return c
}
