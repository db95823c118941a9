package tracker

// Window holds the messages in flight to one peer, oldest first. It is a ring that grows on demand, so that a peer that
// never lags costs little.
type Window struct {
	ring  []flight
	start int
	count int
	// bytes is the sum of the sizes of the messages in flight.
	bytes int
	// limits. maxMessages ≥ 1. maxBytes is exceeded by at most one message: one always fits.
	maxMessages, maxBytes int
}

// flight is one message: the index of its last entry, and its size. Both lasts and positions rise together.
type flight struct {
	last  uint64
	bytes int
}

// NewWindow returns an empty window for maxMessages messages and about maxBytes bytes.
func NewWindow(maxMessages, maxBytes int) Window {
	return Window{maxMessages: max(maxMessages, 1), maxBytes: max(maxBytes, 1)}
}

// Count returns the number of messages in flight.
func (w *Window) Count() int { return w.count }

// Bytes returns their size.
func (w *Window) Bytes() int { return w.bytes }

// Full reports whether another message must wait.
func (w *Window) Full() bool { return w.count >= w.maxMessages || w.bytes >= w.maxBytes }

// Add notes a message whose last entry is last. last must not be lower than that of the message before it, and the
// window must not be full.
func (w *Window) Add(last uint64, bytes int) {
	if w.Full() {
		panic("tracker: message added to a full window")
	}
	if w.count == len(w.ring) {
		w.grow()
	}
	w.ring[(w.start+w.count)%len(w.ring)] = flight{last, bytes}
	w.count++
	w.bytes += bytes
}

// FreeTo forgets all messages whose last entry is at or below index: the peer has acknowledged them.
func (w *Window) FreeTo(index uint64) {
	for w.count > 0 && w.ring[w.start].last <= index {
		w.bytes -= w.ring[w.start].bytes
		w.start = (w.start + 1) % len(w.ring)
		w.count--
	}
}

// Reset forgets all messages and releases the ring.
func (w *Window) Reset() {
	w.ring, w.start, w.count, w.bytes = nil, 0, 0, 0
}

func (w *Window) grow() {
	size := min(max(2*len(w.ring), 4), w.maxMessages)
	ring := make([]flight, size)
	for i := range w.count {
		ring[i] = w.ring[(w.start+i)%len(w.ring)]
	}
	w.ring, w.start = ring, 0
}
