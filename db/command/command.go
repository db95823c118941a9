package command

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// Version is the newest format of commands that this program writes and executes.
const Version = 1

// ErrMalformed is wrapped by every refusal of a command because of its shape, when encoding and when decoding.
var ErrMalformed = errors.New("malformed command")

// ErrTooLarge is wrapped by every refusal of a command that passes one of the limits of this package.
var ErrTooLarge = errors.New("command too large")

// VersionError says that a command has a version that this program does not know.
type VersionError struct {
	// Version is the command's. It is never one of 1 to the constant Version.
	Version uint32
}

func (e *VersionError) Error() string {
	if e.Version == 0 {
		return fmt.Sprintf("the command has no version, and this program knows the versions 1 to %d: the entry was not written by rsqld", Version)
	}
	return fmt.Sprintf("the command has version %d and this program knows versions up to %d: upgrade this node to the version of the node that leads", e.Version, Version)
}

// Encode returns the bytes of a log entry. The same command gives the same bytes. A zero version is refused, not
// filled in: the caller decides which version the whole cluster understands.
//
// Every failure is a *VersionError or wraps ErrMalformed or ErrTooLarge, and nothing that Encode accepts is refused by
// Decode.
func Encode(c *commandpb.Command) ([]byte, error) {
	if err := check(c); err != nil {
		return nil, fmt.Errorf("encoding a command: %w", err)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil { // the only cause: a string that is not UTF-8
		return nil, fmt.Errorf("encoding a command: %w: %w", ErrMalformed, err)
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("encoding a command: %w", tooLarge("bytes", len(data), MaxBytes))
	}
	return data, nil
}

// Decode returns the command that data holds; it keeps no reference to data. Every failure is a *VersionError or wraps
// ErrMalformed or ErrTooLarge.
func Decode(data []byte) (*commandpb.Command, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("decoding a command: %w", tooLarge("bytes", len(data), MaxBytes))
	}
	c := new(commandpb.Command)
	if err := proto.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("decoding a command: %w: %w", ErrMalformed, err)
	}
	if err := check(c); err != nil {
		return nil, fmt.Errorf("decoding a command: %w", err)
	}
	return c, nil
}
