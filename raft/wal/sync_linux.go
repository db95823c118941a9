package wal

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFile is fdatasync: segments have their size and blocks before they are written, so metadata need not follow.
func syncFile(file *os.File) error {
	for {
		if err := unix.Fdatasync(int(file.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func syncDir(dir *os.File) error { return dir.Sync() }
