package transport

import (
	"testing"
	"time"
)

// Chunks are compressed where the network is slower than that, and left as they are where it is faster; whatever was found, now
// and then one is compressed to see whether it still holds.
func TestCompressionIsWeighed(t *testing.T) {
	const chunk = 1 << 20
	run := func(w *worth, chunks int, send, pack time.Duration, ratio float64) (compressed int) {
		for range chunks {
			wire := chunk
			if w.packs() {
				compressed++
				wire = int(chunk * ratio)
				w.packed(chunk, wire, pack)
			}
			w.sent(wire, send*time.Duration(wire)/chunk)
		}
		return compressed
	}
	for name, test := range map[string]struct {
		send, pack time.Duration // of a whole chunk
		ratio      float64
		compresses bool
	}{
		"slow network":               {80 * time.Millisecond, 10 * time.Millisecond, 0.5, true},
		"fast network":               {5 * time.Millisecond, 10 * time.Millisecond, 0.5, false},
		"zeros on a fast network":    {5 * time.Millisecond, time.Millisecond, 0.01, true},
		"nothing to gain":            {80 * time.Millisecond, 10 * time.Millisecond, 1, false},
		"little to gain, slow":       {80 * time.Millisecond, 10 * time.Millisecond, 0.95, false},
		"no time passes for sending": {0, time.Millisecond, 0.1, false},
	} {
		w := new(worth)
		run(w, worthTried, test.send, test.pack, test.ratio)
		got := run(w, 320, test.send, test.pack, test.ratio)
		if test.compresses && got != 320 || !test.compresses && got != 10 {
			t.Errorf("%s: %d of 320 chunks are compressed", name, got)
		}
	}
	// A network that becomes slow, and fast again.
	w := new(worth)
	run(w, 100, 5*time.Millisecond, 10*time.Millisecond, 0.5)
	if got := run(w, 100, 80*time.Millisecond, 10*time.Millisecond, 0.5); got < 90 {
		t.Errorf("after it has become slow, %d of 100", got)
	}
	run(w, 100, 5*time.Millisecond, 10*time.Millisecond, 0.5)
	if got := run(w, 100, 5*time.Millisecond, 10*time.Millisecond, 0.5); got > 5 {
		t.Errorf("after it has become fast again, %d of 100", got)
	}
}
