//go:build !linux

package transport

import "net"

// bufferSysctl is what an operator can do about a small receive buffer.
const bufferSysctl = "the system's limit for socket buffers (on macOS sysctl -w kern.ipc.maxsockbuf=8388608)"

// bufferSize is not known here: the error of SetReadBuffer says whether the wish was granted.
func bufferSize(*net.UDPConn) (size int, known bool) { return 0, false }
