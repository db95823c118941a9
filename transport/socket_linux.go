package transport

import (
	"net"

	"golang.org/x/sys/unix"
)

// bufferSysctl is what an operator can do about a small receive buffer.
const bufferSysctl = "sysctl -w net.core.rmem_max=7340032"

// bufferSize returns the size of the receive buffer in bytes as asked for: the kernel reports twice as much, which
// includes its own bookkeeping (socket(7)). It is zero if the socket is closed.
func bufferSize(conn *net.UDPConn) (size int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	failed := raw.Control(func(fd uintptr) {
		size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	if failed != nil || err != nil {
		return 0
	}
	return size / 2
}
