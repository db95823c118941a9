//go:build !soak || windows

package testcluster_test

// soaking says whether the drills take their full time.
const soaking = false
