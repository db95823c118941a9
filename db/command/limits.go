package command

import (
	"fmt"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// Limits of one command.
const (
	// MaxBytes is the size of an encoded command: as much as one entry of the log holds (setting log.max_entry).
	MaxBytes = 64 << 20
	// MaxStatements is the number of statements of a Script, each of which may be a text of several SQL statements, and of
	// the steps of a Transaction.
	MaxStatements = 100_000
	// MaxNameBytes bounds a member's name and its address, and the names and values of settings.
	MaxNameBytes = 1024
	// MaxKeyBytes bounds a member's public key in PKIX DER.
	MaxKeyBytes = 4096
	// MaxSettings is the number of settings of a Bootstrap or a ChangeSettings.
	MaxSettings = 256
)

// Lengths of the identifiers in a command, in bytes.
const (
	SessionBytes  = 16
	ClusterBytes  = 16
	TokenIDBytes  = 8
	TokenKeyBytes = 32
	VerifyIDBytes = 8
	// RestoreHashBytes is the length of a SHA-256.
	RestoreHashBytes = 32
)

// check reports what is wrong with the shape of c. The version comes first: in another version the rest may mean
// something else.
func check(c *commandpb.Command) error {
	if c == nil {
		return fmt.Errorf("%w: no command", ErrMalformed)
	}
	if c.Version == 0 || c.Version > Version {
		return &VersionError{Version: c.Version}
	}
	if len(c.Session) != 0 && len(c.Session) != SessionBytes {
		return length("session", len(c.Session), SessionBytes)
	}
	switch body := c.Body.(type) {
	case *commandpb.Command_Script:
		return checkScript(body.Script)
	case *commandpb.Command_Bootstrap:
		return checkBootstrap(body.Bootstrap)
	case *commandpb.Command_MintToken:
		return checkToken(body.MintToken)
	case *commandpb.Command_UseToken:
		return checkUse(body.UseToken)
	case *commandpb.Command_SetMember:
		return checkMember(body.SetMember.GetMember())
	case *commandpb.Command_Verify:
		if n := len(body.Verify.GetId()); n != VerifyIDBytes {
			return length("id of a verification", n, VerifyIDBytes)
		}
		return nil
	case *commandpb.Command_ChangeSettings:
		return checkSettings(body.ChangeSettings.GetSettings())
	case *commandpb.Command_Transaction:
		return checkTransaction(body.Transaction)
	case *commandpb.Command_Restore:
		if n := len(body.Restore.GetSha256()); n != RestoreHashBytes {
			return length("hash of a file", n, RestoreHashBytes)
		}
		return nil
	case *commandpb.Command_Recover:
		return checkRecover(body.Recover)
	case *commandpb.Command_Abandon:
		if len(c.Session) == 0 || c.Seq == 0 {
			return fmt.Errorf("%w: it abandons a write without a session and a number", ErrMalformed)
		}
		return nil
	}
	return fmt.Errorf("%w: it has no body that version %d knows", ErrMalformed, c.Version)
}

func checkScript(s *commandpb.Script) error {
	if len(s.GetStatements()) > MaxStatements {
		return tooLarge("statements", len(s.GetStatements()), MaxStatements)
	}
	for i, statement := range s.GetStatements() {
		if statement == nil {
			return fmt.Errorf("%w: statement %d is missing", ErrMalformed, i)
		}
	}
	return nil
}

func checkTransaction(t *commandpb.Transaction) error {
	if len(t.GetSteps()) > MaxStatements {
		return tooLarge("steps of a transaction", len(t.GetSteps()), MaxStatements)
	}
	for i, step := range t.GetSteps() {
		switch kind := step.GetKind().(type) {
		case *commandpb.Step_Statement:
			if kind.Statement == nil {
				return fmt.Errorf("%w: the statement of step %d is missing", ErrMalformed, i)
			}
		case nil:
			return fmt.Errorf("%w: step %d has no kind that this version knows", ErrMalformed, i)
		}
	}
	return nil
}

func checkBootstrap(b *commandpb.Bootstrap) error {
	if len(b.GetCluster()) != ClusterBytes {
		return length("cluster id", len(b.GetCluster()), ClusterBytes)
	}
	if err := checkSettings(b.Settings); err != nil {
		return err
	}
	if b.Token != nil {
		if err := checkToken(b.Token); err != nil {
			return err
		}
	}
	return checkMember(b.Member)
}

func checkRecover(r *commandpb.Recover) error {
	switch n := len(r.GetEpoch()); {
	case n == 0:
		return fmt.Errorf("%w: no epoch", ErrMalformed)
	case n > MaxNameBytes:
		return tooLarge("bytes of an epoch", n, MaxNameBytes)
	}
	return checkMember(r.Survivor)
}

func checkSettings(settings map[string]string) error {
	if len(settings) > MaxSettings {
		return tooLarge("settings", len(settings), MaxSettings)
	}
	for name, value := range settings {
		if max(len(name), len(value)) > MaxNameBytes {
			return tooLarge("bytes of a setting", max(len(name), len(value)), MaxNameBytes)
		}
	}
	return nil
}

func checkToken(t *commandpb.MintToken) error {
	if len(t.GetId()) != TokenIDBytes {
		return length("token id", len(t.GetId()), TokenIDBytes)
	}
	if len(t.Key) != TokenKeyBytes {
		return length("token key", len(t.Key), TokenKeyBytes)
	}
	return nil
}

func checkUse(u *commandpb.UseToken) error {
	if len(u.GetId()) != TokenIDBytes {
		return length("token id", len(u.GetId()), TokenIDBytes)
	}
	return checkMember(u.Member)
}

func checkMember(m *commandpb.Member) error {
	if m == nil {
		return fmt.Errorf("%w: the member is missing", ErrMalformed)
	}
	if n := max(len(m.Name), len(m.Address)); n > MaxNameBytes {
		return tooLarge("bytes of a member's name or address", n, MaxNameBytes)
	}
	if len(m.PublicKey) > MaxKeyBytes {
		return tooLarge("bytes of a member's public key", len(m.PublicKey), MaxKeyBytes)
	}
	return nil
}

func length(what string, got, want int) error {
	return fmt.Errorf("%w: its %s has %d bytes instead of %d", ErrMalformed, what, got, want)
}

func tooLarge(what string, got, limit int) error {
	return fmt.Errorf("%w: %d %s, and the limit is %d", ErrTooLarge, got, what, limit)
}
