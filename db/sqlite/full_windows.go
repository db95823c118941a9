package sqlite

// outOfSpace: the base VFS of Windows tells a full disk by itself.
func outOfSpace(uintptr) bool { return false }
