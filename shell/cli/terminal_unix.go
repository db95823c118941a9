//go:build unix

package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminalWidth is the width of the terminal that file is, in columns. It is false for a file that is no terminal; a
// terminal that does not know its width has 80 columns.
func terminalWidth(file *os.File) (columns int, terminal bool) {
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	if size.Col == 0 {
		return 80, true
	}
	return int(size.Col), true
}

// ansi reports whether terminals of this system understand ANSI escape sequences.
const ansi = true
