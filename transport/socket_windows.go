package transport

import (
	"errors"
	"syscall"
)

// isRefused reports whether the kernel heard from the other machine that no process has the port: Windows says so by
// WSAECONNRESET on a datagram socket.
func isRefused(err error) bool { return errors.Is(err, syscall.WSAECONNRESET) }
