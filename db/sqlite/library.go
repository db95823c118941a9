package sqlite

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// library brings SQLite up once per process and pins what is process-wide.
var library = sync.OnceValue(func() error {
	tls := libc.NewTLS()
	defer tls.Close()
	if rc := lib.Xsqlite3_initialize(tls); rc != lib.SQLITE_OK {
		return fmt.Errorf("initializing sqlite: result code %d", rc)
	}
	args := alloc(tls, 16)
	if args == 0 {
		return fmt.Errorf("initializing sqlite: out of memory")
	}
	defer release(tls, args)
	rc := lib.Xsqlite3_test_control(tls, lib.SQLITE_TESTCTRL_LOCALTIME_FAULT,
		libc.VaList(args, int32(2), pointer(utcLocaltime)))
	if rc != lib.SQLITE_OK {
		return fmt.Errorf("pinning sqlite's local time to utc: result code %d", rc)
	}
	return nil
})

// localtimeCalls counts the conversions made by utcLocaltime: SelfTest proves by it that SQLite asks this package and
// not the operating system. Comparing results proves nothing on a machine whose time zone is UTC.
var localtimeCalls atomic.Int64

// utcLocaltime replaces localtime_r: the modifiers 'localtime' and 'utc' give the same answer whatever TZ says.
// It reads a time_t and fills the first nine fields of a struct tm, which every C library begins with in this order.
func utcLocaltime(_ *libc.TLS, seconds, tm uintptr) int32 {
	localtimeCalls.Add(1)
	t := time.Unix(*at[int64](seconds), 0).UTC()
	*at[[9]int32](tm) = [9]int32{
		int32(t.Second()), int32(t.Minute()), int32(t.Hour()),
		int32(t.Day()), int32(t.Month()) - 1, int32(t.Year()) - 1900,
		int32(t.Weekday()), int32(t.YearDay()) - 1, 0,
	}
	return 0
}

// SourceID names the exact SQLite source this program was built from (https://sqlite.org/c3ref/libversion.html).
func SourceID() string { return lib.SQLITE_SOURCE_ID }

// Version is SQLite's release, such as "3.54.1".
func Version() string { return lib.SQLITE_VERSION }
