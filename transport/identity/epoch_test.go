package identity_test

import (
	"errors"
	"testing"

	"github.com/rsqld/rsqld/transport/identity"
)

// Each recovery begins an epoch of its own, also two of the same epoch.
func TestNextEpoch(t *testing.T) {
	a, b := identity.Epoch{}.Next(), identity.Epoch{}.Next()
	if a.Number != 1 || b.Number != 1 || a == b || a.Next().Number != 2 || a.Next().Mark == a.Mark {
		t.Errorf("the epochs are %v, %v and %v", a, b, a.Next())
	}
}

// An epoch is read as it was written, and nothing else is one.
func FuzzParseEpoch(f *testing.F) {
	for _, text := range []string{
		"", "0", "1-0123456789abcdef", "18446744073709551615-ffffffffffffffff", "01-0123456789abcdef", "1-0123456789ABCDEF",
		"1", "1-", "1-0123456789abcdef00", "0-0123456789abcdef", "1-0000000000000000", "-1-0123456789abcdef", "18446744073709551616-ffffffffffffffff",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := identity.ParseEpoch(text)
		switch {
		case errors.Is(err, identity.ErrEpoch):
			if e != (identity.Epoch{}) {
				t.Errorf("%q is refused and is %v", text, e)
			}
		case err != nil:
			t.Errorf("%q: %v, which does not wrap ErrEpoch", text, err)
		case e.String() != text && !(text == "" && e == identity.Epoch{}):
			t.Errorf("%q was read as %v", text, e)
		}
	})
}
