package transport

import (
	"net"
	"net/netip"
	"slices"
	"testing"
)

// A small receive buffer is said once, with the command that mends it, and a large one is not mentioned.
func TestSmallBufferIsLogged(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	small := bufferSize(conn) < receiveBuffer
	logs := new(logs)
	checkBuffer(conn, logs.logger())
	checkBuffer(&faultyConn{PacketConn: conn}, logs.logger())
	if lines := logs.lines("level=INFO", bufferSysctl); small != (len(lines) == 1) || len(lines) > 1 {
		t.Errorf("the buffer is small: %v, and the log says %v", small, lines)
	}
}

// Addresses are host:port, without a host this machine, IPv4 before IPv6.
func TestResolve(t *testing.T) {
	for address, want := range map[string]string{"127.0.0.1:4001": "127.0.0.1:4001", ":4001": "127.0.0.1:4001", "[::1]:4001": "[::1]:4001"} {
		got, err := resolve(t.Context(), address)
		if err != nil || !slices.Equal(got, []netip.AddrPort{netip.MustParseAddrPort(want)}) {
			t.Errorf("%s is %v, %v; want %s", address, got, err, want)
		}
	}
	for _, address := range []string{"", "127.0.0.1", "127.0.0.1:no such port", "127.0.0.1:70000"} {
		if got, err := resolve(t.Context(), address); err == nil {
			t.Errorf("%q is %v", address, got)
		}
	}
}
