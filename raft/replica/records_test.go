package replica_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// records is a log that a test can look into.
type records struct {
	mu    sync.Mutex
	lines []string
	worst slog.Level
}

func (r *records) logger() *slog.Logger { return slog.New(recorder{r, ""}) }

func (r *records) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.lines, "\n")
}

// alarming returns the worst level and whether it is above INFO.
func (r *records) alarming() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.worst > slog.LevelInfo
}

type recorder struct {
	*records
	prefix string
}

func (r recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r recorder) WithGroup(string) slog.Handler            { return r }

func (r recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	return recorder{r.records, r.prefix + fmt.Sprint(attrs)}
}

func (r recorder) Handle(_ context.Context, record slog.Record) error {
	line := fmt.Sprint(record.Level, " ", r.prefix, " ", record.Message)
	record.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	r.worst = max(r.worst, record.Level)
	return nil
}
