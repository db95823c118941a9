//go:build unix

package sqlite

import (
	"syscall"

	lib "modernc.org/sqlite/lib"
)

// outOfSpace tells whether the write to a file of the base VFS that has just failed did so for want of space. SQLite knows
// ENOSPC alone. A quota and a limit on the size of files pass like a full disk does, once somebody makes room, and another
// copy of the database helps against none of them.
func outOfSpace(file uintptr) bool {
	switch syscall.Errno(at[lib.TunixFile](file).FlastErrno) {
	case syscall.EDQUOT, syscall.EFBIG:
		return true
	}
	return false
}
