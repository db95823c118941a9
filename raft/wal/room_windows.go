package wal

import "syscall"

// fullErrors are what the operating system says when a disk is full or a quota is used up: ERROR_HANDLE_DISK_FULL,
// ERROR_DISK_FULL and ERROR_DISK_QUOTA_EXCEEDED (learn.microsoft.com/windows/win32/debug/system-error-codes).
var fullErrors = []error{syscall.Errno(39), syscall.Errno(112), syscall.Errno(1295), syscall.ENOSPC}
