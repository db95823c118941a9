package db

import "runtime/debug"

// Version is the version of this program, as the shell prints it and members show it to each other.
const Version = "0.1.0"

// Build names the commit that this program was built from, or is empty when the build does not know it.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value[:min(12, len(setting.Value))]
		}
	}
	return ""
}
