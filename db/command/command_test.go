package command_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
)

func member() *commandpb.Member {
	return &commandpb.Member{Name: "n1", Address: "127.0.0.1:4001", PublicKey: []byte{1, 2, 3}}
}

func token() *commandpb.MintToken {
	return &commandpb.MintToken{Id: make([]byte, 8), Key: make([]byte, 32), Uses: 1}
}

// commands returns one valid command of each kind.
func commands() map[string]*commandpb.Command {
	return map[string]*commandpb.Command{
		"script": {Version: 1, Time: 42, Seed: 7, Session: make([]byte, 16), Seq: 3, Body: &commandpb.Command_Script{Script: &commandpb.Script{
			Statements: []*commandpb.Statement{{Sql: "insert into t values(?, :b)", Args: []*commandpb.Argument{
				{Value: &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: -1}}}, {Name: "b", Value: &commandpb.Value{}}}}}}}},
		"empty script": {Version: 1, Body: &commandpb.Command_Script{Script: &commandpb.Script{}}},
		"bootstrap": {Version: 1, Body: &commandpb.Command_Bootstrap{Bootstrap: &commandpb.Bootstrap{
			Cluster: make([]byte, 16), Member: member(), Settings: map[string]string{"a": "1", "b": "2"}, Token: token()}}},
		"mint token": {Version: 1, Body: &commandpb.Command_MintToken{MintToken: token()}},
		"use token":  {Version: 1, Body: &commandpb.Command_UseToken{UseToken: &commandpb.UseToken{Id: make([]byte, 8), Member: member()}}},
		"verify":     {Version: 1, Body: &commandpb.Command_Verify{Verify: &commandpb.Verify{Id: []byte("verify 1")}}},
		"change settings": {Version: 1, Body: &commandpb.Command_ChangeSettings{ChangeSettings: &commandpb.ChangeSettings{
			Settings: map[string]string{"a": "1"}}}},
		"recover":    {Version: 1, Body: &commandpb.Command_Recover{Recover: &commandpb.Recover{Epoch: "1-0123456789abcdef", Survivor: member()}}},
		"set member": {Version: 1, Body: &commandpb.Command_SetMember{SetMember: &commandpb.SetMember{Member: member(), Removed: true}}},
	}
}

// A command that was encoded is decoded to the same command, whatever its kind.
func TestRoundTrip(t *testing.T) {
	for name, c := range commands() {
		data, err := command.Encode(c)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := command.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !proto.Equal(got, c) {
			t.Errorf("%s: got %v, want %v", name, got, c)
		}
	}
}

// A malformed command is refused by Encode with a sentence that names what is wrong, and by Decode where it reaches it.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", command.MaxNameBytes+1)
	tests := []struct {
		name    string
		command *commandpb.Command
		cause   error
		says    string
	}{
		{"nothing", nil, command.ErrMalformed, "no command"},
		{"no body", &commandpb.Command{Version: 1}, command.ErrMalformed, "no body that version 1 knows"},
		{"short session", &commandpb.Command{Version: 1, Session: []byte{1}}, command.ErrMalformed, "session has 1 bytes instead of 16"},
		{"short cluster", &commandpb.Command{Version: 1, Body: &commandpb.Command_Bootstrap{Bootstrap: &commandpb.Bootstrap{Cluster: []byte{1}}}},
			command.ErrMalformed, "cluster id has 1 bytes instead of 16"},
		{"no epoch", &commandpb.Command{Version: 1, Body: &commandpb.Command_Recover{Recover: &commandpb.Recover{Survivor: member()}}},
			command.ErrMalformed, "no epoch"},
		{"no survivor", &commandpb.Command{Version: 1, Body: &commandpb.Command_Recover{Recover: &commandpb.Recover{Epoch: "1-0123456789abcdef"}}},
			command.ErrMalformed, "the member is missing"},
		{"no founder", &commandpb.Command{Version: 1, Body: &commandpb.Command_Bootstrap{Bootstrap: &commandpb.Bootstrap{Cluster: make([]byte, 16)}}},
			command.ErrMalformed, "the member is missing"},
		{"short token id", &commandpb.Command{Version: 1, Body: &commandpb.Command_MintToken{MintToken: &commandpb.MintToken{Key: make([]byte, 32)}}},
			command.ErrMalformed, "token id has 0 bytes instead of 8"},
		{"short token key", &commandpb.Command{Version: 1, Body: &commandpb.Command_MintToken{MintToken: &commandpb.MintToken{Id: make([]byte, 8)}}},
			command.ErrMalformed, "token key has 0 bytes instead of 32"},
		{"use without member", &commandpb.Command{Version: 1, Body: &commandpb.Command_UseToken{UseToken: &commandpb.UseToken{Id: make([]byte, 8)}}},
			command.ErrMalformed, "the member is missing"},
		{"set without member", &commandpb.Command{Version: 1, Body: &commandpb.Command_SetMember{SetMember: &commandpb.SetMember{}}},
			command.ErrMalformed, "the member is missing"},
		{"long setting", &commandpb.Command{Version: 1, Body: &commandpb.Command_ChangeSettings{ChangeSettings: &commandpb.ChangeSettings{
			Settings: map[string]string{"a": long}}}}, command.ErrTooLarge, "1025 bytes of a setting, and the limit is 1024"},
		{"long address", &commandpb.Command{Version: 1, Body: &commandpb.Command_SetMember{SetMember: &commandpb.SetMember{Member: &commandpb.Member{Address: long}}}},
			command.ErrTooLarge, "1025 bytes of a member's name or address, and the limit is 1024"},
		{"text is not UTF-8", &commandpb.Command{Version: 1, Body: &commandpb.Command_Script{Script: &commandpb.Script{
			Statements: []*commandpb.Statement{{Sql: "select '\xff'"}}}}}, command.ErrMalformed, "UTF-8"},
		{"too many statements", &commandpb.Command{Version: 1, Body: &commandpb.Command_Script{Script: &commandpb.Script{
			Statements: make([]*commandpb.Statement, command.MaxStatements+1)}}}, command.ErrTooLarge, "100001 statements, and the limit is 100000"},
		{"too many bytes", &commandpb.Command{Version: 1, Body: &commandpb.Command_Script{Script: &commandpb.Script{
			Statements: []*commandpb.Statement{{Sql: strings.Repeat("-", command.MaxBytes)}}}}}, command.ErrTooLarge, "bytes, and the limit is 67108864"},
	}
	for _, test := range tests {
		_, err := command.Encode(test.command)
		if !errors.Is(err, test.cause) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: encoding: got %v, want %v that says %q", test.name, err, test.cause, test.says)
		}
		data, err := proto.Marshal(test.command)
		if err != nil || test.command == nil || test.name == "too many statements" { // missing statements do not survive the wire
			continue
		}
		if _, err := command.Decode(data); !errors.Is(err, test.cause) {
			t.Errorf("%s: decoding: got %v, want %v", test.name, err, test.cause)
		}
	}
}

// A version that is not known is refused with one sentence that names it and the newest one known, even when its body
// is of a kind that this program has never heard of.
func TestVersions(t *testing.T) {
	future := protowire.AppendTag(nil, 1, protowire.VarintType)
	future = protowire.AppendVarint(future, 3)
	future = protowire.AppendTag(future, 99, protowire.BytesType)
	future = protowire.AppendBytes(future, []byte("a body of the future"))
	_, err := command.Decode(future)
	var version *command.VersionError
	if !errors.As(err, &version) || version.Version != 3 {
		t.Fatalf("decoding version 3: got %v, want a *VersionError of 3", err)
	}
	if says := version.Error(); !strings.Contains(says, "version 3") || !strings.Contains(says, "up to 1") || strings.Contains(says, "\n") {
		t.Errorf("the error says %q: want one sentence with both versions", says)
	}
	if _, err := command.Decode(nil); !errors.As(err, &version) || version.Version != 0 {
		t.Errorf("decoding nothing: got %v, want a *VersionError of 0", err)
	}
	if _, err := command.Encode(&commandpb.Command{Version: 2}); !errors.As(err, &version) || version.Version != 2 {
		t.Errorf("encoding version 2: got %v, want a *VersionError of 2", err)
	}
}

// The same command always has the same bytes, though it holds a map.
func TestEncodingIsDeterministic(t *testing.T) {
	c := &commandpb.Command{Version: 1, Body: &commandpb.Command_Bootstrap{Bootstrap: &commandpb.Bootstrap{
		Cluster: make([]byte, 16), Member: member(), Settings: map[string]string{}}}}
	for _, name := range strings.Split("abcdefghijklmnop", "") {
		c.GetBootstrap().Settings[name] = name
	}
	first, err := command.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, err := command.Encode(c); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("another encoding differs (%v)", err)
		}
	}
}

// Whatever the bytes are, decoding them ends without a crash, and what it accepts can be encoded and decoded again.
func FuzzDecode(f *testing.F) {
	for _, c := range commands() {
		data, err := command.Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := command.Decode(data)
		if err != nil {
			return
		}
		again, err := command.Encode(c)
		if err != nil {
			t.Fatalf("%v was decoded and cannot be encoded: %v", c, err)
		}
		if d, err := command.Decode(again); err != nil || !proto.Equal(c, d) {
			t.Fatalf("%v became %v (%v)", c, d, err)
		}
	})
}
