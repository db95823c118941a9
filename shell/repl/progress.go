package repl

import (
	"fmt"
	"io"
	"time"
)

// How often progress is shown.
const (
	liveEvery = 200 * time.Millisecond
	lineEvery = 5 * time.Second
)

// progress tells of long work on stderr: a line that is written over on a terminal, otherwise a line now and then.
type progress struct {
	w     io.Writer
	live  bool
	now   func() time.Time
	what  string
	total int64 // bytes of the whole; zero: not known
	began time.Time
	// moving is when the bytes began to come.
	moving time.Time
	shown  time.Time
	dirty  bool // a live line stands on the terminal
}

func newProgress(w io.Writer, live bool, now func() time.Time, what string, total int64) *progress {
	began := now()
	return &progress{w: w, live: live, now: now, what: what, total: total, began: began, moving: began, shown: began}
}

// update shows where the work is, if it is time to.
func (p *progress) update(bytes, rows int64) {
	if p.due() {
		p.show(fmt.Sprintf("%s: %s rows, %s", p.what, thousands(rows), p.pace(bytes)))
	}
}

// updateBytes is update for work without rows.
func (p *progress) updateBytes(bytes int64) {
	if p.due() {
		p.show(fmt.Sprintf("%s: %s", p.what, p.pace(bytes)))
	}
}

// updateStage shows what the work waits for, if it is time to. The pace is counted from here on.
func (p *progress) updateStage(stage string) {
	if p.due() {
		p.show(fmt.Sprintf("%s: %s, %s", p.what, stage, p.now().Sub(p.began).Round(time.Second)))
	}
	p.moving = p.now()
}

// due reports whether it is time to show something.
func (p *progress) due() bool {
	every := lineEvery
	if p.live {
		every = liveEvery
	}
	now := p.now()
	if now.Sub(p.shown) < every {
		return false
	}
	p.shown = now
	return true
}

// pace is how much is done, how fast, and how long the rest may take.
func (p *progress) pace(bytes int64) string {
	rate := float64(bytes) / max(p.shown.Sub(p.moving).Seconds(), 1e-3)
	line := byteSize(bytes)
	if p.total > 0 {
		line += " of " + byteSize(p.total)
	}
	line += fmt.Sprintf(", %s/s", byteSize(int64(rate)))
	if p.total > bytes && rate > 0 {
		left := time.Duration(float64(p.total-bytes) / rate * float64(time.Second))
		line += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return line
}

func (p *progress) show(line string) {
	if p.live {
		fmt.Fprintf(p.w, "\r%s\x1b[K", line)
		p.dirty = true
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// clear takes a live line away, so that other text can be printed.
func (p *progress) clear() {
	if p.dirty {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.dirty = false
	}
}

// close prints the closing line.
func (p *progress) close(verb string, rows int64, where string) {
	p.clear()
	elapsed := p.now().Sub(p.began)
	rate := float64(rows) / max(elapsed.Seconds(), 1e-3)
	noun := "rows"
	if rows == 1 {
		noun = "row"
	}
	fmt.Fprintf(p.w, "%s %s %s %s in %.2f s (%s rows/s)\n", verb, thousands(rows), noun, where, elapsed.Seconds(), thousands(int64(rate)))
}

// closeBytes prints the closing line of work without rows.
func (p *progress) closeBytes(did string, bytes int64) {
	p.clear()
	elapsed := p.now().Sub(p.began)
	rate := float64(bytes) / max(elapsed.Seconds(), 1e-3)
	fmt.Fprintf(p.w, "%s, %s in %.2f s (%s/s)\n", did, byteSize(bytes), elapsed.Seconds(), byteSize(int64(rate)))
}

// thousands is n with its digits in groups of three.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func byteSize(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}
