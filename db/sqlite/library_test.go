package sqlite

import (
	"fmt"
	"testing"
)

// In a process whose time zone is New York's the self-test passes, so that local time is UTC there too, and the
// fingerprint is this process's.
func TestTimeZoneDoesNotMatter(t *testing.T) {
	want := fmt.Sprintf("%v %x", error(nil), Fingerprint())
	for _, zone := range []string{"America/New_York", "Asia/Kathmandu", "UTC"} {
		if got := child(t, "selftest", "TZ="+zone); got != want {
			t.Errorf("%s: got %s, want %s", zone, got, want)
		}
	}
}

// Local time is UTC for every year that SQLite knows.
func TestLocaltimeIsUTC(t *testing.T) {
	c := memory(t)
	for _, v := range []string{"0000-01-01 00:00:00", "1883-11-18 12:03:58", "1969-12-31 23:59:59", "2024-02-29 12:00:00", "2024-07-01 12:00:00", "2038-01-19 03:14:08", "9999-12-31 23:59:59"} {
		if got := ask(t, c, "SELECT datetime('"+v+"', 'localtime') || '|' || datetime('"+v+"', 'utc')"); got != v+"|"+v {
			t.Errorf("%s: got %s", v, got)
		}
	}
}
