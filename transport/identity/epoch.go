package identity

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Epoch tells the histories of a cluster apart. A cluster begins in the zero one. Whoever recovers it from one copy after
// the loss of its quorum begins another: the members that were lost, should they come back, know nothing of it, could make
// a majority of the configuration that they remember, and must therefore be no members of the recovered cluster. Two copies
// that were recovered apart have the same Number and different Marks: they are two clusters from then on.
type Epoch struct {
	// Number counts the recoveries.
	Number uint64
	// Mark is drawn by a recovery; it is zero in the zero epoch alone.
	Mark [8]byte
}

// ErrEpoch is the cause of the error for a text that names no epoch.
var ErrEpoch = errors.New("not an epoch")

// Next returns a new epoch that follows e.
func (e Epoch) Next() Epoch {
	next := Epoch{Number: e.Number + 1}
	for next.Mark == [8]byte{} {
		rand.Read(next.Mark[:])
	}
	return next
}

// String returns the number, and of a recovered cluster the mark behind a dash, in hexadecimal digits.
func (e Epoch) String() string {
	if e == (Epoch{}) {
		return "0"
	}
	return fmt.Sprintf("%d-%x", e.Number, e.Mark)
}

// ParseEpoch is the inverse of [Epoch.String]. An empty text is the zero epoch: whoever knows of no epochs names none.
func ParseEpoch(text string) (e Epoch, err error) {
	if text == "" || text == "0" {
		return Epoch{}, nil
	}
	digits, mark, _ := strings.Cut(text, "-")
	b, err := hex.DecodeString(mark)
	if err == nil && len(b) == len(e.Mark) {
		e.Mark = [8]byte(b)
		e.Number, err = strconv.ParseUint(digits, 10, 64)
	}
	if err != nil || e.Number == 0 || e.Mark == [8]byte{} || e.String() != text {
		return Epoch{}, fmt.Errorf("%w: %.64q", ErrEpoch, text)
	}
	return e, nil
}

// MarshalText implements encoding.TextMarshaler.
func (e Epoch) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Epoch) UnmarshalText(text []byte) (err error) {
	*e, err = ParseEpoch(string(text))
	return err
}
