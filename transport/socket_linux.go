package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// bufferSysctl is what an operator can do about a small receive buffer.
const bufferSysctl = "sysctl -w net.core.rmem_max=7340032"

// bufferSize returns the size of the receive buffer in bytes as asked for: the kernel reports twice as much, which
// includes its own bookkeeping (socket(7)).
func bufferSize(conn *net.UDPConn) (size int, known bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		size, failed = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	}); err != nil || failed != nil {
		return 0, false
	}
	return size / 2, true
}
