package replica

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// bench is a Handler with an environment that a test plays: nothing completes by itself.
type bench struct {
	*Handler
	t       *testing.T
	now     time.Time
	writes  []*raft.Write
	marks   int
	retries int
	sent    []raft.Message
	loads   []raft.LoadRange
	commit  raft.Index
	waiters Waiters
}

func (b *bench) Now() time.Time           { return b.now }
func (b *bench) Write(w *raft.Write)      { b.writes = append(b.writes, w) }
func (b *bench) Mark()                    { b.marks++ }
func (b *bench) Load(load raft.LoadRange) { b.loads = append(b.loads, load) }
func (b *bench) Commit(index raft.Index)  { b.commit = index }
func (b *bench) Retry()                   { b.retries++ }
func (b *bench) Send(m raft.Message)      { b.sent = append(b.sent, m) }

// founded is the log of a cluster that was just founded by voters.
func founded(voters ...raft.ID) (raft.HardState, raft.Log) {
	configuration := raft.Configuration{Voters: voters}
	data, _ := configuration.AppendBinary(nil)
	id := raft.EntryID{Term: 1, Index: 1}
	return raft.HardState{Term: 1}, raft.Log{
		Last:           id,
		Runs:           []raft.TermRun{{First: 1, Term: 1}},
		Configurations: []raft.ConfigurationAt{{Index: 1, Configuration: configuration}},
		Tail:           []raft.Entry{{ID: id, Kind: raft.EntryConfiguration, Data: data}},
	}
}

func newBench(t *testing.T, limits Limits, voters ...raft.ID) *bench {
	hardState, log := founded(voters...)
	config := Config{ID: 1, Seed: 1, ElectionTimeout: DefaultElectionTimeout, Limits: limits.withDefaults()}
	node, err := raft.New(config.core(), hardState, log, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: time.Unix(0, 0)}
	b.Handler = NewHandler(node, config.ElectionTimeout, limits, Environment{
		Clock: b, Writer: b, Loader: b, Committer: b, Transport: b, Waiters: &b.waiters,
	})
	return b
}

// tick lets one tick pass.
func (b *bench) tick() {
	b.now = b.now.Add(DefaultElectionTimeout / electionTicks)
	b.Tick()
	b.Process()
}

// settle completes all writes, and those that follow from them.
func (b *bench) settle() {
	b.Process()
	for len(b.writes) > 0 {
		seq := b.writes[len(b.writes)-1].Seq
		b.writes = nil
		b.Written(seq, nil)
		b.Process()
	}
}

// elect makes the handler the leader of three by granting what it asks for.
func (b *bench) elect() {
	b.t.Helper()
	for range 10 * electionTicks {
		b.tick()
		b.settle()
		for _, m := range b.take() {
			if v, ok := m.(raft.Vote); ok && v.To == 2 {
				ack := raft.VoteAck{Envelope: raft.Envelope{From: 2, To: 1, Term: v.Term}, Pre: v.Pre, Granted: true}
				if err := b.Step(ack); err != nil {
					b.t.Fatal(err)
				}
			}
		}
		b.settle()
		if role, _, _ := b.Role(); role == raft.Leader {
			return
		}
	}
	b.t.Fatal("no leader")
}

// take returns what was sent since the last call.
func (b *bench) take() []raft.Message {
	sent := b.sent
	b.sent = nil
	return sent
}

// A message that promises what a write holds leaves when that write is durable, neither before nor with another one.
func TestPromisesWaitForTheDisk(t *testing.T) {
	b := newBench(t, Limits{}, 1, 2, 3)
	for _, candidate := range []raft.ID{2, 3} {
		vote := raft.Vote{
			Envelope: raft.Envelope{From: candidate, To: 1, Term: 5 + raft.Term(candidate)},
			Last:     raft.EntryID{Term: 1, Index: 1}, Transfer: true,
		}
		if err := b.Step(vote); err != nil {
			t.Fatal(err)
		}
		b.Process()
	}
	if len(b.writes) != 2 || b.writes[0].HardState.Vote != 2 || b.writes[1].HardState.Vote != 3 {
		t.Fatalf("writes %+v, want two with a vote each", b.writes)
	}
	if sent := b.take(); len(sent) != 0 {
		t.Errorf("sent %+v before a vote was durable", sent)
	}
	for i, w := range b.writes {
		b.Written(w.Seq, nil)
		b.Process()
		if sent := b.take(); len(sent) != 1 || sent[0].Header().To != raft.ID(i+2) {
			t.Errorf("sent %+v after write %d, want the answer to %d", sent, w.Seq, i+2)
		}
	}
}

// Entries leave for the peers before the leader's own write is durable, and heartbeats go on while it is not.
func TestLeaderDoesNotWaitForItsDisk(t *testing.T) {
	b := newBench(t, Limits{}, 1, 2, 3)
	b.elect()
	b.Propose([]*Proposal{{Data: []byte("a"), Done: func(Applied, error) {}}})
	b.Process()
	heartbeats := 0
	for range 3 * heartbeatTicks {
		b.tick()
		for _, m := range b.take() {
			if _, ok := m.(raft.Heartbeat); ok {
				heartbeats++
			}
		}
	}
	if len(b.writes) == 0 || heartbeats < 4 {
		t.Errorf("%d writes pending, %d heartbeats; want some of each", len(b.writes), heartbeats)
	}
}

// After a failed write nothing leaves the node any more, and nobody is told of a success.
func TestNothingLeavesAfterAFailedWrite(t *testing.T) {
	b := newBench(t, Limits{}, 1, 2, 3)
	b.elect()
	b.take()
	failure := errors.New("input/output error")
	b.Written(b.queued+1, failure)
	for range 2 * electionTicks {
		b.tick()
	}
	var refused error
	b.Propose([]*Proposal{{Done: func(_ Applied, err error) { refused = err }}})
	b.Read(&ReadRound{Done: func(_ raft.Index, err error) { refused = errors.Join(refused, err) }})
	b.Process()
	if sent := b.take(); len(sent) > 0 {
		t.Errorf("sent %+v", sent)
	}
	if !errors.Is(refused, ErrClosed) || !errors.Is(refused, failure) || !errors.Is(b.Err(), failure) {
		t.Errorf("proposal and read: %v; Err: %v", refused, b.Err())
	}
}

// Proposals that arrive together are one write; a change of membership keeps its place between them.
func TestProposalsTogetherAreOneWrite(t *testing.T) {
	b := newBench(t, Limits{}, 1)
	b.tick()
	b.settle()
	var batch []*Proposal
	for i := range 10 {
		p := &Proposal{Data: []byte{byte(i)}, Done: func(_ Applied, err error) { t.Error(err) }}
		if i == 5 {
			p.Membership = &raft.Membership{AddLearners: []raft.ID{2}}
		}
		batch = append(batch, p)
	}
	abandonedOne := &Proposal{Done: func(Applied, error) { t.Error("answered, though abandoned") }}
	if !abandonedOne.Abandon() {
		t.Fatal("cannot abandon")
	}
	b.Propose(append(batch, abandonedOne))
	b.Process()
	if len(b.writes) != 1 || len(b.writes[0].Entries) != 10 {
		t.Fatalf("writes %+v, want one of ten entries", b.writes)
	}
	for i, e := range b.writes[0].Entries {
		if (i == 5) != (e.Kind == raft.EntryConfiguration) || (i != 5 && e.Data[0] != byte(i)) {
			t.Errorf("entry %d is %v %x", i, e.Kind, e.Data)
		}
	}
}

// When a batch is too much for the core, what fits is proposed and the rest is refused as busy.
func TestBusyCoreTakesWhatFits(t *testing.T) {
	b := newBench(t, Limits{MaxUncommittedBytes: 1000}, 1, 2, 3)
	b.elect()
	var batch []*Proposal
	busy := 0
	for range 16 {
		batch = append(batch, &Proposal{Data: make([]byte, 100), Done: func(_ Applied, err error) {
			if !errors.Is(err, raft.ErrBusy) {
				t.Errorf("got %v, want ErrBusy", err)
			}
			busy++
		}})
	}
	b.Propose(batch)
	if taken := b.waiters.Len(); taken == 0 || busy == 0 || taken+busy != len(batch) {
		t.Errorf("%d were proposed and %d refused, of %d", taken, busy, len(batch))
	}
}

// The marker is asked for once, 50 ms after the newest write, and not while a write is pending.
func TestIdleLogIsMarkedOnce(t *testing.T) {
	b := newBench(t, Limits{}, 1)
	propose := func() { b.Propose([]*Proposal{{Data: []byte("a"), Done: func(Applied, error) {}}}); b.Process() }
	b.tick()
	b.settle()
	for range 20 {
		propose()
		b.tick()
		b.settle()
		if b.marks != 0 {
			t.Fatal("marked a log that is not idle")
		}
	}
	propose()
	for range 20 {
		b.tick()
	}
	if b.marks != 0 {
		t.Error("marked while a write is pending")
	}
	b.settle()
	idleSince := b.now
	for b.marks == 0 && b.now.Sub(idleSince) < time.Second {
		b.tick()
	}
	if idle := b.now.Sub(idleSince); idle < markAfter || idle > 2*markAfter {
		t.Errorf("marked after %v", idle)
	}
	for range 100 {
		b.tick()
	}
	if b.marks != 1 {
		t.Errorf("marked %d times", b.marks)
	}
}

// Attempts to apply again follow after 100 ms, then after twice as long each time, up to 5 s.
func TestRetriesBackOff(t *testing.T) {
	b := newBench(t, Limits{}, 1)
	b.tick()
	b.settle()
	want := []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000}
	for i := range want {
		b.ApplyFailed(errors.New("disk full"))
		failed := b.now
		for b.retries == i {
			b.tick()
		}
		if got := b.now.Sub(failed); got < want[i]*time.Millisecond || got > want[i]*time.Millisecond+20*time.Millisecond {
			t.Errorf("attempt %d came after %v, want %v ms", i, got, int(want[i]))
		}
		if b.ApplyErr() == nil || b.Status().Fit {
			t.Error("the failure does not show")
		}
	}
	b.ApplyResumed()
	if b.ApplyErr() != nil || !b.Status().Fit {
		t.Error("the failure still shows")
	}
}

// Beyond MaxReadRounds a read is refused; the others end with the leader that they asked, the oldest first.
func TestReadRoundsAreBounded(t *testing.T) {
	b := newBench(t, Limits{MaxReadRounds: 3}, 1, 2, 3)
	b.elect()
	var answers []string
	for i := range 4 {
		b.Read(&ReadRound{Done: func(_ raft.Index, err error) {
			switch {
			case errors.Is(err, raft.ErrBusy):
				answers = append(answers, fmt.Sprint(i, " busy"))
			case errors.Is(err, raft.ErrNotLeader):
				answers = append(answers, fmt.Sprint(i, " lost"))
			}
		}})
	}
	for range 2 * electionTicks {
		b.tick()
	}
	if want := []string{"3 busy", "0 lost", "1 lost", "2 lost"}; !slices.Equal(answers, want) {
		t.Errorf("got %q, want %q", answers, want)
	}
}

// Messages that wait are seen before the tick that waits: a node that was paused does not campaign against a leader
// whose heartbeat is in its inbox.
func TestInboxIsDrainedBeforeTheTick(t *testing.T) {
	hardState, log := founded(1, 2, 3)
	peers := &bench{}
	config, err := Config{ID: 1, Seed: 1, WAL: &tape{}, Machine: noMachine{}, Transport: peers}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	node, err := raft.New(config.core(), hardState, log, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := build(config, node, 0)
	heartbeat := raft.Heartbeat{Envelope: raft.Envelope{From: 2, To: 1, Term: 1}}
	// The second heartbeat comes with the first tick at which the node could campaign. Timeouts are drawn from 15
	// values: among 200 there are some of the shortest.
	for range 200 {
		r.Step(heartbeat)
		r.turn(false)
		for range electionTicks - 1 {
			r.turn(true)
		}
		r.Step(heartbeat)
		r.turn(true)
		for _, m := range peers.take() {
			if vote, ok := m.(raft.Vote); ok {
				t.Fatalf("asked for a vote with a heartbeat in the inbox: %+v", vote)
			}
		}
	}
	for range 2 * electionTicks {
		r.turn(true)
	}
	if status := r.Status(); status.Role != raft.PreCandidate {
		t.Errorf("without heartbeats: %+v, want a pre-candidate", status)
	}
}

type noMachine struct{}

func (noMachine) Apply([]raft.Entry) ([]raft.Result, error) {
	return nil, errors.New("nothing to apply")
}
func (noMachine) Base() (raft.Base, error) { return raft.Base{}, nil }
