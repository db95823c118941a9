package sqlite

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"math"
	"sync"
)

// fingerprintQueries compute what could differ between two builds or two machines though the SQLite source is the
// same: C library mathematics, number formatting and parsing, calendar arithmetic, collation, case folding, JSON,
// full-text ranking, R-tree rounding. Each runs on one database in memory, whose clock stands still.
// The list is part of the protocol between nodes: a change of it is a change of the fingerprint.
var fingerprintQueries = []string{
	// Mathematics: the last bit of each counts.
	`WITH x(v) AS (VALUES (1e-300), (1e-9), (0.1), (0.5), (0.7), (1.0), (1.5), (2.0), (3.3), (10.0), (123.456), (1e5), (1e15))
	 SELECT v, sin(v), cos(v), tan(v), atan(v), atan2(v, 0.3), sinh(v / 1e4), cosh(v / 1e4), tanh(v), asinh(v),
	        exp(v / 1e4), ln(v), log10(v), log2(v), sqrt(v), pow(v, 0.3), pow(v, -1.7), pow(1.0000001, v),
	        v % 0.3, mod(v, 0.7), degrees(v), radians(v), ceil(v), floor(v), trunc(v) FROM x`,
	`WITH x(v) AS (VALUES (-0.99), (-0.5), (0.0), (0.1), (0.5), (0.999)) SELECT asin(v), acos(v), atanh(v) FROM x`,
	`SELECT pi(), 0.1 + 0.2, 1e308 * 10, -1e308 * 10, 1e-320, 9007199254740993, 9223372036854775807 + 1, 1 / 3.0, -7 / 2, -7 % 3, 2.5 * 1e-17 + 1`,
	`WITH RECURSIVE n(i, f) AS (SELECT 1, 0.1 UNION ALL SELECT i + 1, f * 1.7 + 1.0 / i FROM n WHERE i < 200)
	 SELECT sum(f), avg(f), total(f), min(f), max(f), group_concat(round(f, 3)) FROM n WHERE i % 3 <> 0`,
	// Numbers to text and back.
	`WITH x(v) AS (VALUES (0.0), (-0.0), (1.0), (0.1), (1e21), (1e-7), (123456789.123456789), (5e-324), (1.7976931348623157e308), (2.5), (-1.5))
	 SELECT v, CAST(v AS TEXT), quote(v), round(v, 1), round(v), printf('%.17g|%e|%f|%10.3f|%!.20g|%,d', v, v, v, v, v, v), CAST(v AS INTEGER), v || '', hex(v) FROM x`,
	`SELECT CAST('1e400' AS REAL), CAST('0x1F' AS INTEGER), CAST('12abc' AS REAL), CAST('  .5e1 ' AS REAL), CAST('179769313486231570814527423731704356798070' AS REAL), CAST('9223372036854775808' AS INTEGER), '1_000' + 1`,
	// The calendar.
	`WITH d(v) AS (VALUES ('2000-02-29 23:59:59.999'), ('1969-07-20 20:17:40'), ('0000-01-01'), ('9999-12-31 23:59:59'), (2451545.25), (-1234567.5), (1700000000))
	 SELECT datetime(v), julianday(v), unixepoch(v, 'subsec'), date(v, '+1 month', 'start of month', '-1 day'), strftime('%j %W %w %G-%V %U %s %f %e %k %I %p', v),
	        datetime(v, 'auto'), datetime(v, '+13 months', 'ceiling'), datetime(v, '+13 months', 'floor'), datetime(v, 'weekday 0', 'localtime'), timediff('2024-02-29', v), time(v, '+1.25 seconds', 'subsec') FROM d`,
	`SELECT CURRENT_TIMESTAMP, julianday(), datetime('now', 'utc'), unixepoch('now', 'subsec')`,
	// Text.
	`WITH x(v) AS (VALUES ('a'), ('B'), ('b '), ('Ä'), ('ä'), ('ß'), ('é'), ('日本'), ('A'), (''), (x'ff00'), (1), (2.5), (NULL))
	 SELECT group_concat(quote(v)) FROM (SELECT v FROM x ORDER BY v COLLATE NOCASE, v COLLATE RTRIM, v)`,
	`SELECT upper('äßa'), lower('ÄÉZ'), 'Ä' LIKE 'ä', 'A' LIKE 'a', 'abc' GLOB 'a[!x]?', unicode('€'), char(8364, 65533), length('日本'), length(CAST('日本' AS BLOB)), substr('日本語', -2, 1), instr('日本語', '語'), replace('aaa', 'a', 'é'), trim('  é '), soundex('Robert'), quote(x'00ff'), unhex('0aFF'), format('%q|%Q|%w|%c|%5s|%-5s|', 'it''s', NULL, '"', 'xy', 'é', 'é')`,
	// JSON.
	`SELECT json('{"a":[1,2.50,1e3,"\u00e9",null,true]}'), json_extract('{"a":{"b":[10,0.1]}}', '$.a.b[#-1]'), json_group_array(v), json_object('f', 0.1, 'i', 9223372036854775807), hex(jsonb('{"k":[1,-2.5]}')), json_patch('{"a":1,"b":2}', '{"b":null,"c":[3]}')
	 FROM (SELECT 0.1 AS v UNION ALL SELECT 'x' UNION ALL SELECT NULL)`,
	`SELECT key, value, type, fullkey FROM json_tree('{"a":[true,{"b":1.0e-5}],"é":"x"}')`,
	// Generators and aggregates over windows.
	`SELECT random(), hex(randomblob(9)), abs(random()) % 1000`,
	`SELECT i, ntile(3) OVER w, percent_rank() OVER w, cume_dist() OVER w, sum(i * 0.1) OVER (ORDER BY i ROWS 2 PRECEDING) FROM (SELECT 1 AS i UNION SELECT 2 UNION SELECT 3 UNION SELECT 5 UNION SELECT 8) WINDOW w AS (ORDER BY i)`,
	// Full text: tokens, folding of diacritics, ranking, snippets.
	`SELECT rowid, bm25(d), rank, snippet(d, 0, '[', ']', '…', 4), highlight(d, 0, '<', '>') FROM d('fox OR cafe OR naïve*') ORDER BY rank, rowid`,
	`SELECT rowid, bm25(p) FROM p('running') ORDER BY rank, rowid`,
	`SELECT rowid FROM g('bro') ORDER BY rowid`,
	// R-tree: coordinates are rounded to 32 bits, outwards.
	`SELECT id, minx, maxx, miny, maxy FROM r WHERE minx < 0.55 ORDER BY id`,
}

// fingerprintSchema is the content that the last queries read.
const fingerprintSchema = `
CREATE VIRTUAL TABLE d USING fts5(body, tokenize = 'unicode61 remove_diacritics 2');
INSERT INTO d(body) VALUES ('The quick brown fox'), ('Café au lait, CAFÉ crème'), ('naïve foxes jump over the lazy dog fox fox'), ('Ελλάδα ΕΛΛΆΔΑ'), ('');
CREATE VIRTUAL TABLE p USING fts5(body, tokenize = 'porter');
INSERT INTO p(body) VALUES ('he runs and runs'), ('running late'), ('a runner ran');
CREATE VIRTUAL TABLE g USING fts5(body, tokenize = 'trigram');
INSERT INTO g(body) VALUES ('brown'), ('BROWN'), ('browser');
CREATE VIRTUAL TABLE r USING rtree(id, minx, maxx, miny, maxy);
INSERT INTO r VALUES (1, 0.1, 0.2, 0.3, 0.7), (2, 0.5, 1e10, -1e-10, 1.1), (3, 0.6, 0.7, 0, 1);`

// fingerprint computes Fingerprint once.
var fingerprint = sync.OnceValues(computeFingerprint)

// Fingerprint identifies how this program computes: the SQLite source and the results of a fixed list of queries.
// Two nodes with different fingerprints could give different answers to the same entry and must not be in one
// cluster. The list is a sample: equal fingerprints make equal arithmetic likely, not certain.
//
// It panics when SQLite cannot compute it at all; SelfTest reports the same as an error and comes first.
func Fingerprint() [32]byte {
	sum, err := fingerprint()
	if err != nil {
		panic(err)
	}
	return sum
}

func computeFingerprint() (sum [32]byte, err error) {
	clock := NewClock()
	clock.SetUnixNano(1709164799_123_000_000) // 2024-02-28 23:59:59.123 UTC
	c, err := Open(":memory:", Options{Create: true, Clock: clock})
	if err != nil {
		return sum, fmt.Errorf("computing the execution fingerprint: %w", err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	c.SeedRandom(1)
	h := sha256.New()
	h.Write([]byte(SourceID()))
	if err := c.Exec(fingerprintSchema); err != nil {
		return sum, fmt.Errorf("computing the execution fingerprint: %w", err)
	}
	for _, q := range fingerprintQueries {
		if err := c.hashRows(h, q); err != nil {
			return sum, fmt.Errorf("computing the execution fingerprint: %q: %w", q, err)
		}
	}
	return [32]byte(h.Sum(nil)), nil
}

// hashRows writes every value of a query's result to h: storage class, length, bytes; real numbers by their bits.
func (c *Conn) hashRows(h hash.Hash, sql string) error {
	s, err := c.Internal(sql)
	if err != nil {
		return err
	}
	defer s.Release()
	var buffer []byte
	for {
		row, err := s.Step()
		if err != nil || !row {
			return err
		}
		for i := range s.ColumnCount() {
			buffer = appendHashed(buffer[:0], s.Column(i))
			h.Write(buffer)
		}
	}
}

// appendHashed appends a value so that no two values have the same bytes.
func appendHashed(b []byte, v Value) []byte {
	b = append(b, byte(v.Type))
	switch v.Type {
	case Integer:
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Int))
	case Float:
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float))
	case Text, Blob:
		b = binary.LittleEndian.AppendUint64(b, uint64(len(v.Bytes)))
		b = append(b, v.Bytes...)
	}
	return b
}
