package wal

import "encoding/binary"

// Reseal makes the checksums of a segment's header and of its records right, and ties the records together again, as far
// as their lengths allow. It returns the name that the segment must have: a fuzzer cannot guess these.
func Reseal(b []byte) (name string) {
	le := binary.LittleEndian
	le.PutUint32(b[headerSize-4:], checksum(0, b[:headerSize-4]))
	seed, now := seedOf(le.Uint64(b[72:])), tip{number: le.Uint64(b[120:]), chain: le.Uint64(b[64:])}
	for r, at := b[headerSize:], int64(headerSize); len(r) >= recordHeader; {
		seed := placed(seed, at)
		n := uint64(le.Uint32(r[4:]))
		if n < recordHeader || n%alignment != 0 || n > uint64(len(r)) {
			break
		}
		now.number++
		le.PutUint64(r[16:], now.chain)
		le.PutUint64(r[24:], now.number)
		le.PutUint16(r[10:], headerCheck(seed, r))
		le.PutUint32(r, checksum(seed, r[4:n]))
		now.chain = chain(now.chain, r[:n])
		r, at = r[n:], at+int64(n)
	}
	var h header
	if h.decode(b) != nil {
		return segmentName(1, 0)
	}
	return segmentName(h.base.Index+1, h.sequence)
}
