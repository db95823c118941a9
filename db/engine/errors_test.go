package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Only errors that are known to come from the entry and the rows become results; all others are the environment's.
func TestDeterministic(t *testing.T) {
	own := []error{&PolicyError{}, &LimitError{}, &ArgumentError{}, &VetoError{}, &refusal{errors.New("x")}, ErrTokenUsed, ErrMemberKey}
	for _, err := range own {
		if !deterministic(err) || !deterministic(fmt.Errorf("wrapped: %w", err)) {
			t.Errorf("%T %v is the environment's", err, err)
		}
	}
	for _, err := range []error{errMissingError, errors.New("anything"), ErrClosed, sqlite.ErrClosed} {
		if deterministic(err) {
			t.Errorf("%v is deterministic", err)
		}
	}
	codes := map[int]bool{
		1: true, 4: true, 18: true, 19: true, 787: true, 2067: true, 531: false, 20: true, 23: true, 25: true, 267: true, 518: true,
		5: false, 6: false, 7: false, 8: false, 9: false, 10: false, 778: false, 11: false, 13: false, 14: false, 26: false, 516: false, 9999: false,
	}
	for code, want := range codes {
		if got := deterministic(&sqlite.Error{Code: code & 0xff, Extended: code}); got != want {
			t.Errorf("code %d: deterministic %t, want %t", code, got, want)
		}
	}
}

// A limit that can be changed is called a setting, and one that cannot is not.
func TestLimitErrorNamesSettings(t *testing.T) {
	for name, want := range map[string]string{SettingMaxRows: "the limit of the setting sql.max_rows:", "sql.max_spool": "the limit sql.max_spool:"} {
		if err := (&LimitError{Setting: name, Limit: 7, Unit: "rows"}); !strings.Contains(err.Error(), "more than 7 rows, "+want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
