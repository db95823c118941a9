package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// terminalWidth is the width of the console that file is, in columns. It is false for a file that is no console.
func terminalWidth(file *os.File) (columns int, terminal bool) {
	handle := windows.Handle(file.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(handle, &mode); err != nil {
		return 0, false
	}
	var info windows.ConsoleScreenBufferInfo
	if err := windows.GetConsoleScreenBufferInfo(handle, &info); err != nil {
		return 80, true // an input console has no screen
	}
	return int(info.Window.Right-info.Window.Left) + 1, true
}

// ansi reports whether terminals of this system understand ANSI escape sequences. Consoles may or may not.
const ansi = false
