//go:build unix

package transport

import (
	"errors"
	"syscall"
)

// isRefused reports whether the kernel heard from the other machine that no process has the port.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
