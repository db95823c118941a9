package wal

import (
	"errors"
	"fmt"
	"os"
)

// ErrNoRoom says that the disk has no room for another segment, or that a quota is used up. Append made nothing durable,
// and may be called again with the same writes: it works once there is room. Spare says so earlier, while the active segment
// still has room for what is small.
var ErrNoRoom = errors.New("the disk has no room for the log: delete what is not needed, or give it a larger one")

// noRoom wraps ErrNoRoom around an error that says so in the words of the operating system.
func noRoom(err error) error {
	for _, full := range fullErrors {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", ErrNoRoom, err)
		}
	}
	return err
}

// discard gives the blocks of an unfinished file back, which may be the last ones of the disk.
func discard(files Files, name string) error {
	if err := files.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
