package tracker

// State says how a peer is sent entries. See the package comment.
type State uint8

const (
	Probe State = iota
	Replicate
	Stranded
	Snapshot
)

func (s State) String() string {
	return [...]string{"probe", "replicate", "stranded", "snapshot"}[s]
}

// Progress is the flow control of one peer. Its zero value is of no use; New makes one.
type Progress struct {
	// match is the newest index known to be durable at the peer and equal to the leader's. It never falls.
	match uint64
	// next is the first index to send next. match < next. In Replicate it runs ahead of match.
	next  uint64
	state State
	// paused is set in Probe while the one message is in flight.
	paused bool
	window Window
}

// New returns the progress of a peer of which nothing is known, to be probed at next (≥ 1).
func New(next uint64, maxMessages, maxBytes int) Progress {
	return Progress{next: next, window: NewWindow(maxMessages, maxBytes)}
}

// Match returns the newest index known to be durable at the peer.
func (p *Progress) Match() uint64 { return p.match }

// Next returns the first index to be sent next.
func (p *Progress) Next() uint64 { return p.next }

// State returns how the peer is sent entries.
func (p *Progress) State() State { return p.state }

// Inflight returns the number of messages not acknowledged yet, and their bytes.
func (p *Progress) Inflight() (messages, bytes int) {
	if p.state == Probe && p.paused {
		return 1, 0
	}
	return p.window.Count(), p.window.Bytes()
}

// Ready reports whether a message with entries may be sent now.
func (p *Progress) Ready() bool {
	switch p.state {
	case Probe:
		return !p.paused
	case Replicate:
		return !p.window.Full()
	}
	return false
}

// Sent notes that a message with count entries of bytes in all was sent from Next on. It must be Ready. A message
// without entries is a question only: it pauses a probe and takes no place in a window.
func (p *Progress) Sent(count, bytes int) {
	switch p.state {
	case Probe:
		p.paused = true
	case Replicate:
		if count > 0 {
			p.next += uint64(count)
			p.window.Add(p.next-1, bytes)
		}
	case Stranded, Snapshot:
		panic("tracker: entries sent to a peer that cannot take them")
	}
}

// Acknowledge notes that the peer holds everything up to index durably. It reports false, and changes nothing, if that
// was known. A peer that is not in Replicate proves by an acknowledgement where the logs agree, so it goes there.
func (p *Progress) Acknowledge(index uint64) bool {
	if index <= p.match {
		// The one answer that moves nothing and still matters: it confirms the place that is being probed.
		if p.state == Probe && index == p.match && p.next == index+1 {
			p.replicate()
		}
		return false
	}
	p.match = index
	if p.state == Replicate {
		p.next = max(p.next, index+1)
		p.window.FreeTo(index)
		return true
	}
	p.replicate()
	return true
}

// Reject notes that the peer does not hold the entry at prev, and that the logs can agree at hint or below. It reports
// false, and changes nothing, if the rejection is stale or doubled.
func (p *Progress) Reject(prev, hint uint64) bool {
	if prev <= p.match {
		return false
	}
	switch p.state {
	case Replicate:
		p.Probe()
		return true
	case Probe:
		if prev != p.next-1 {
			return false
		}
		p.next = max(min(prev, hint+1), p.match+1)
		p.paused = false
		return true
	}
	return false
}

// Resume ends the pause of a probe: its message or the answer may be lost.
func (p *Progress) Resume() { p.paused = false }

// Probe goes back to sending one message at a time, from behind the last index known to be held.
func (p *Progress) Probe() { p.ProbeAt(p.match + 1) }

// ProbeAt is Probe from another place, which must be above Match.
func (p *Progress) ProbeAt(next uint64) {
	if next <= p.match {
		panic("tracker: probe at or below match")
	}
	p.state, p.next, p.paused = Probe, next, false
	p.window.Reset()
}

// Strand notes that entries from Next on cannot be sent.
func (p *Progress) Strand() {
	p.state, p.paused = Stranded, false
	p.window.Reset()
}

// Snapshot notes that a snapshot is on its way. It must be Stranded. Nothing else is sent but heartbeats, until the peer
// acknowledges something or the owner calls ProbeAt or Strand.
func (p *Progress) Snapshot() {
	if p.state != Stranded {
		panic("tracker: snapshot for a peer that is not stranded")
	}
	p.state = Snapshot
}

func (p *Progress) replicate() {
	p.state, p.next, p.paused = Replicate, p.match+1, false
	p.window.Reset()
}
