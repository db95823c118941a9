//go:build unix

package engine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// freeSpace returns how many bytes may still be written to the file system of a directory.
func freeSpace(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("asking for the free space of %s: %w", dir, err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil
}
