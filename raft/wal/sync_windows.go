package wal

import "os"

func syncFile(file *os.File) error { return file.Sync() }

// syncDir does nothing: Windows cannot sync a directory, and NTFS journals its names.
func syncDir(*os.File) error { return nil }
