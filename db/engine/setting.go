package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Settings of the cluster. They are replicated (table _rsqld_settings), fixed by Bootstrap, and decide what an entry
// does; a node-local wish has no place among them.
const (
	// SettingForeignKeys says whether foreign keys are enforced: on (default) or off.
	SettingForeignKeys = "sql.foreign_keys"
	// SettingRecursiveTriggers is SQLite's pragma of that name: on or off (default).
	SettingRecursiveTriggers = "sql.recursive_triggers"
	// SettingMaxRows bounds the rows that one entry changes, those changed by triggers and foreign keys included.
	SettingMaxRows = "sql.max_rows"
	// SettingMaxSteps bounds the steps of SQLite's virtual machine that one statement of an entry takes, counted in
	// whole thousands. A step is some tens of nanoseconds.
	SettingMaxSteps = "sql.max_steps"
)

// settings are the values that apply goes by. They are equal on every replica at the same index.
type settings struct {
	foreignKeys       bool
	recursiveTriggers bool
	maxRows           int64
	maxSteps          int64
}

// settingDefaults holds every setting there is.
var settingDefaults = map[string]string{
	SettingForeignKeys:       "on",
	SettingRecursiveTriggers: "off",
	SettingMaxRows:           "10000000",
	SettingMaxSteps:          "1000000000",
}

// CheckSettings reports why a Bootstrap with these settings would be refused: a name that is not known or a value that
// is out of its range.
func CheckSettings(values map[string]string) error {
	_, err := parseSettings(values)
	return err
}

// parseSettings reads settings; those that are missing have their defaults. The first error in the order of the names
// is returned, so that it is the same on every replica.
func parseSettings(values map[string]string) (settings, error) {
	var s settings
	all := maps.Clone(settingDefaults)
	maps.Copy(all, values)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var err error
		switch value := all[name]; name {
		case SettingForeignKeys:
			s.foreignKeys, err = parseSwitch(value)
		case SettingRecursiveTriggers:
			s.recursiveTriggers, err = parseSwitch(value)
		case SettingMaxRows:
			s.maxRows, err = parseLimit(value, 1)
		case SettingMaxSteps:
			s.maxSteps, err = parseLimit(value, stepsPerTick)
		default:
			err = fmt.Errorf("there is no such setting; known are %s", strings.Join(slices.Sorted(maps.Keys(settingDefaults)), ", "))
		}
		if err != nil {
			return settings{}, fmt.Errorf("setting %q: %w", name, err)
		}
	}
	return s, nil
}

func parseSwitch(value string) (bool, error) {
	switch value {
	case "on":
		return true, nil
	case "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", value)
}

func parseLimit(value string, least int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < least {
		return 0, fmt.Errorf("%q is not a whole number of at least %d", value, least)
	}
	return n, nil
}
