package transport
import ("testing";"context";"io";"time")
func BenchmarkRawWrite(b *testing.B) { raw(b, false) }
func BenchmarkRawTry(b *testing.B) { raw(b, true) }
func raw(b *testing.B, try bool) {
	r := newRealm(b)
	put := func(s *Stream, p []byte) error { if try { return s.quic.TryWriteAll(p) }; _, err := s.quic.Write(p); return err }
	n := r.start(1, plain(b), serving(func(_ context.Context, s *Session) {
		s.quic.SetReadDeadline(time.Time{})
		var p [100]byte
		for { if _, err := io.ReadFull(s.quic, p[:]); err != nil { return }; if put(s.Stream, p[:]) != nil { return } }
	}))
	s := r.client(n).open(b)
	var p [100]byte
	for b.Loop() { put(s, p[:]); io.ReadFull(s.quic, p[:]) }
}
