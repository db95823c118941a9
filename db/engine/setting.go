package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// Settings of the cluster. They are replicated (table _rsqld_settings), given by Bootstrap, changed by ChangeSettings,
// and decide what an entry does; a node-local wish has no place among them. A change acts from the next entry on.
const (
	// SettingForeignKeys says whether foreign keys are enforced: on (default) or off. Turning them on does not look for
	// rows that violate them already: PRAGMA foreign_key_check does.
	SettingForeignKeys = "sql.foreign_keys"
	// SettingRecursiveTriggers is SQLite's pragma of that name: on or off (default).
	SettingRecursiveTriggers = "sql.recursive_triggers"
	// SettingMaxRows bounds the rows that one entry changes, those changed by triggers and foreign keys included:
	// 10,000,000.
	SettingMaxRows = "sql.max_rows"
	// SettingMaxSteps bounds the steps of SQLite's virtual machine that one statement of an entry takes, counted in
	// whole thousands: 150,000,000. A step is some tens of nanoseconds.
	SettingMaxSteps = "sql.max_steps"
	// SettingMaxValue is the size in bytes of the largest text, blob or row: 30,000,000, which fits into one frame to a
	// client. Without it a node with less memory would fail where the others go on.
	SettingMaxValue = "sql.max_value_bytes"
	// SettingMaxStatement is the length in bytes of the longest SQL statement: 32 MiB, that of a frame of a client. A
	// text of several statements may be longer.
	SettingMaxStatement = "sql.max_statement_bytes"
	// SettingMaxParameters is the largest number of a parameter in a statement: 32,766, as SQLite has it.
	SettingMaxParameters = "sql.max_parameters"
	// SettingTargetVoters is how many voters the leader makes of learners by itself, and keeps by replacing one that is away:
	// 0 (default) makes a voter of every learner that did not ask to stay one, and replaces none.
	SettingTargetVoters = "cluster.target_voters"
	// SettingReplaceAfter is how long a voter may be away before another node votes in its place: 10m. It needs a target.
	SettingReplaceAfter = "cluster.replace_after"
)

// settings are the values that apply goes by. They are equal on every replica at the same index.
type settings struct {
	foreignKeys       bool
	recursiveTriggers bool
	maxRows           int64
	maxSteps          int64
	maxValue          int64
	maxStatement      int64
	maxParameters     int64
	targetVoters      int64
	replaceAfter      time.Duration
}

// settingDefaults holds every setting there is.
var settingDefaults = map[string]string{
	SettingForeignKeys:       "on",
	SettingRecursiveTriggers: "off",
	SettingMaxRows:           "10000000",
	SettingMaxSteps:          "150000000",
	SettingMaxValue:          "30000000",
	SettingMaxStatement:      "33554432",
	SettingMaxParameters:     "32766",
	SettingTargetVoters:      "0",
	SettingReplaceAfter:      "10m",
}

// The bounds of the limits. The least ones leave room for the engine's own rows and statements; the largest are
// SQLite's (https://sqlite.org/limits.html), or no bound.
const (
	leastValue, largestValue           = 2 << 20, 1_000_000_000
	leastStatement, largestStatement   = 1 << 10, 1_000_000_000
	leastParameters, largestParameters = 100, 32766
	largestTarget                      = raft.MaxMembers
	leastReplaceAfter                  = time.Second
	unbounded                          = 1<<63 - 1
)

// CheckSettings reports why a Bootstrap or a ChangeSettings with these settings would be refused: a name that is not
// known or a value that is out of its range. An empty value is the default.
func CheckSettings(values map[string]string) error {
	_, err := parseSettings(values)
	return err
}

// parseSettings reads settings; those that are missing or empty have their defaults. The first error in the order of the
// names is returned, so that it is the same on every replica.
func parseSettings(values map[string]string) (settings, error) {
	var s settings
	all := withDefaults(values)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := s.parse(name, all[name]); err != nil {
			return settings{}, fmt.Errorf("setting %q: %w", name, err)
		}
	}
	return s, nil
}

// withDefaults completes settings.
func withDefaults(values map[string]string) map[string]string {
	all := maps.Clone(settingDefaults)
	for name, value := range values {
		if _, known := all[name]; !known || value != "" {
			all[name] = value
		}
	}
	return all
}

func (s *settings) parse(name, value string) (err error) {
	switch name {
	case SettingForeignKeys:
		s.foreignKeys, err = parseSwitch(value)
	case SettingRecursiveTriggers:
		s.recursiveTriggers, err = parseSwitch(value)
	case SettingMaxRows:
		s.maxRows, err = parseLimit(value, 1, unbounded)
	case SettingMaxSteps:
		s.maxSteps, err = parseLimit(value, stepsPerTick, unbounded)
	case SettingMaxValue:
		s.maxValue, err = parseLimit(value, leastValue, largestValue)
	case SettingMaxStatement:
		s.maxStatement, err = parseLimit(value, leastStatement, largestStatement)
	case SettingMaxParameters:
		s.maxParameters, err = parseLimit(value, leastParameters, largestParameters)
	case SettingTargetVoters:
		s.targetVoters, err = parseLimit(value, 0, largestTarget)
	case SettingReplaceAfter:
		s.replaceAfter, err = parseDuration(value, leastReplaceAfter)
	default:
		known := strings.Join(slices.Sorted(maps.Keys(settingDefaults)), ", ")
		err = fmt.Errorf("there is no such setting; known are %s", known)
	}
	return err
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

func parseLimit(value string, least, largest int64) (int64, error) {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err == nil && least <= n && n <= largest:
		return n, nil
	case largest == unbounded:
		return 0, fmt.Errorf("%q is not a whole number of at least %d", value, least)
	}
	return 0, fmt.Errorf("%q is not a whole number from %d to %d", value, least, largest)
}

func parseDuration(value string, least time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < least {
		return 0, fmt.Errorf("%q is not a duration of at least %v: write 90s, 10m or 1h30m", value, least)
	}
	return d, nil
}

// limit makes a connection keep the limits that SQLite counts itself. Every connection that prepares statements of users
// has them: what one role accepts another must not refuse.
func (s settings) limit(conn *sqlite.Conn) {
	conn.Limit(sqlite.LimitLength, int(s.maxValue))
	conn.Limit(sqlite.LimitVariableNumber, int(s.maxParameters))
	conn.ClearCache() // a statement that was prepared under another limit would pass this one
}

// named names the setting where SQLite only says "string or blob too big" or how parameters are numbered.
func (s settings) named(err error) error {
	var fromSQLite *sqlite.Error
	switch {
	case !errors.As(err, &fromSQLite):
	case fromSQLite.Code == sqlite.CodeTooBig:
		return &LimitError{SettingMaxValue, s.maxValue, "bytes in one value or row"}
	case fromSQLite.Code == sqlite.CodeError && fromSQLite.Message == "too many SQL variables",
		fromSQLite.Code == sqlite.CodeError && strings.HasPrefix(fromSQLite.Message, "variable number must be between"):
		return &LimitError{SettingMaxParameters, s.maxParameters, "parameters in one statement"}
	}
	return err
}
