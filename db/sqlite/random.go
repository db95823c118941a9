package sqlite

import (
	"encoding/binary"
	"math"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// random() and randomblob() draw from a generator of the connection in the place of SQLite's, which is one for the
// whole process and cannot be seeded safely. The generator's state is a word in the connection's C block, so that the
// functions find it without any Go table.

// installRandom overrides the two functions. They are not deterministic in SQLite's sense, so that an index or a
// generated column still refuses them, but innocuous: DEFAULT (random()) works with an untrusted schema.
func (c *Conn) installRandom(seed uint64) error {
	c.SeedRandom(seed)
	flags := int32(lib.SQLITE_UTF8 | lib.SQLITE_INNOCUOUS)
	for _, f := range []struct {
		name string
		args int32
		call func(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr)
	}{
		{"random", 0, randomFunction},
		{"randomblob", 1, randomblobFunction},
	} {
		name, done := c.lend(f.name)
		rc := lib.Xsqlite3_create_function_v2(c.tls, c.db, name, f.args, flags, c.mem+randomState, pointer(f.call), 0, 0, 0)
		done()
		if rc != lib.SQLITE_OK {
			return c.failure(rc)
		}
	}
	return nil
}

// SeedRandom starts the connection's generator anew: the same seed gives the same random() and randomblob() values
// in the same order. A connection is opened with a random seed.
func (c *Conn) SeedRandom(seed uint64) {
	if c.mem != 0 {
		*at[uint64](c.mem + randomState) = seed
	}
}

// splitmix64 is the next number of the generator (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// OOPSLA 2014). It passes through all 2^64 states and any seed is a good one.
func splitmix64(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// randomInt64 maps a number to what random() may return: never the smallest integer, whose abs() is an error.
func randomInt64(u uint64) int64 {
	if i := int64(u); i != math.MinInt64 {
		return i
	}
	return 0
}

// randomFunction is random().
func randomFunction(tls *libc.TLS, ctx uintptr, _ int32, _ uintptr) {
	state := at[uint64](lib.Xsqlite3_user_data(tls, ctx))
	lib.Xsqlite3_result_int64(tls, ctx, randomInt64(splitmix64(state)))
}

// randomblobFunction is randomblob(n): at least one byte, little-endian words of the generator.
func randomblobFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	n := max(1, lib.Xsqlite3_value_int64(tls, *at[uintptr](argv)))
	limit := lib.Xsqlite3_limit(tls, lib.Xsqlite3_context_db_handle(tls, ctx), int32(LimitLength), -1)
	if n > int64(limit) {
		lib.Xsqlite3_result_error_toobig(tls, ctx)
		return
	}
	p := lib.Xsqlite3_malloc64(tls, lib.Tsqlite3_uint64(n))
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	fillRandom(at[uint64](lib.Xsqlite3_user_data(tls, ctx)), view(p, int(n)))
	lib.Xsqlite3_result_blob64(tls, ctx, p, lib.Tsqlite3_uint64(n), free)
}

// fillRandom fills b from the generator.
func fillRandom(state *uint64, b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, splitmix64(state))
		b = b[8:]
	}
	if len(b) > 0 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], splitmix64(state))
		copy(b, word[:])
	}
}
