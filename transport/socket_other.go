//go:build !linux

package transport

import "net"

// bufferSysctl is what an operator can do about a small receive buffer.
const bufferSysctl = "the system's limit for socket buffers (on macOS sysctl -w kern.ipc.maxsockbuf=8388608)"

// bufferSize returns the size of the receive buffer as far as it is known here: the system refuses what it would not give.
func bufferSize(conn *net.UDPConn) int {
	if conn.SetReadBuffer(receiveBuffer) != nil {
		return 0
	}
	return receiveBuffer
}
