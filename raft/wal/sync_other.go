//go:build !linux && !windows

package wal

import "os"

// syncFile is the strongest sync that the system has (F_FULLFSYNC on macOS).
func syncFile(file *os.File) error { return file.Sync() }

func syncDir(dir *os.File) error { return dir.Sync() }
