//go:build !windows

package wal

import "syscall"

// fullErrors are what the operating system says when a disk is full or a quota is used up.
var fullErrors = []error{syscall.ENOSPC, syscall.EDQUOT}
