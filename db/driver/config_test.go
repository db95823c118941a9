package driver

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/transport/identity"
)

// TestParseDSN proves what each part of a data source name sets.
func TestParseDSN(t *testing.T) {
	tests := map[string]Config{
		"rsqld://localhost":                                 {Addresses: []string{"localhost:4001"}},
		"rsqld://localhost/":                                {Addresses: []string{"localhost:4001"}},
		"127.0.0.1:4002":                                    {Addresses: []string{"127.0.0.1:4002"}},
		"rsqld://a:1,b,[::1]:3,[fe80::1%25eth0]":            {Addresses: []string{"a:1", "b:4001", "[::1]:3", "[fe80::1%25eth0]:4001"}},
		"a,b:5/?level=strong":                               {Addresses: []string{"a:4001", "b:5"}, Level: LevelStrong},
		"rsqld://a?cred=%2Ftmp%2Fa+b.pem&busy_timeout=5s":   {Addresses: []string{"a:4001"}, Credential: "/tmp/a b.pem", Timeout: 5 * time.Second, BusyTimeout: 5 * time.Second},
		"rsqld://a/?cred=x/y.pem&target=learner":            {Addresses: []string{"a:4001"}, Credential: "x/y.pem", Target: TargetLearner},
		"rsqld://a/?max_staleness=500ms&level=local&cred=c": {Addresses: []string{"a:4001"}, Credential: "c", MaxStaleness: 500 * time.Millisecond, Level: LevelLocal},
	}
	for dsn, want := range tests {
		if got, err := ParseDSN(dsn); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", dsn, got, err)
		}
	}
}

// TestParseDSNRefuses proves that each mistake has an error that names it.
func TestParseDSNRefuses(t *testing.T) {
	for dsn, want := range map[string]string{
		"":                                   "has no host",
		"rsqld://":                           "has no host",
		"rsqld://:4001":                      "has no host",
		"rsqld://a,,b":                       "has no host",
		"postgres://a":                       `begins with "postgres://"`,
		"rsqld://a:0":                        "is no port",
		"rsqld://a:70000":                    "is no port",
		"rsqld://a:b:c":                      "is not HOST:PORT",
		"rsqld://::1":                        "is not HOST:PORT",
		"rsqld://a/main":                     "one database",
		"rsqld://a/?levle=strong":            "did you mean level?",
		"rsqld://a/?Cred=x":                  "did you mean cred?",
		"rsqld://a/?busy_timeot=1s":          "did you mean busy_timeout?",
		"rsqld://a/?level=eventual":          `level "eventual" is none of`,
		"rsqld://a/?target=follower":         `target "follower" is none of`,
		"rsqld://a/?busy_timeout=5":          `"5" is no time`,
		"rsqld://a/?max_staleness=-1s":       `"-1s" is no time`,
		"rsqld://a/?level=local&level=local": "is there 2 times",
		"rsqld://a/?level=%zz":               "is not a list of key=value",
		"rsqld://bob:secret@a":               "use a credential file",
	} {
		_, err := ParseDSN(dsn)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", dsn, err, want)
		}
	}
}

// FuzzParseDSN proves that no name makes the parser panic, and that what it accepts a Connector accepts.
func FuzzParseDSN(f *testing.F) {
	f.Add("rsqld://a:1,b/?level=session&cred=FILE&busy_timeout=5s&max_staleness=5s&target=any")
	f.Add("[::1]:4001?level=local")
	f.Add("rsqld://u:p@h/x?%")
	f.Fuzz(func(t *testing.T, dsn string) {
		config, err := ParseDSN(dsn)
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Errorf("error without its cause: %v", err)
			}
			return
		}
		if _, err := config.complete(); err != nil {
			t.Errorf("accepted, and then refused: %v", err)
		}
	})
}

// TestNewConnector proves that a configuration that cannot work is refused before anything is dialled, and that defaults
// are filled in.
func TestNewConnector(t *testing.T) {
	authority, err := identity.NewAuthority(identity.Cluster{1})
	if err != nil {
		t.Fatal(err)
	}
	credential, err := authority.NewCredential("bob", identity.RoleRead)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bob.pem")
	if err := identity.WriteSecret(path, credential.PEM()); err != nil {
		t.Fatal(err)
	}
	for want, config := range map[string]Config{
		"no address":              {Cred: credential},
		"is not HOST:PORT":        {Cred: credential, Addresses: []string{"a:b:c"}},
		"no credential":           {Addresses: []string{"a"}},
		"no such file":            {Addresses: []string{"a"}, Credential: path + ".absent"},
		`level "x" is none`:       {Addresses: []string{"a"}, Cred: credential, Level: "x"},
		`target "x" is none`:      {Addresses: []string{"a"}, Cred: credential, Target: "x"},
		"a time below zero":       {Addresses: []string{"a"}, Cred: credential, Timeout: -1},
		"not a usable credential": {Addresses: []string{"a"}, Credential: garbage(t)},
	} {
		if _, err := NewConnector(config); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	c, err := NewConnector(Config{Addresses: []string{"a"}, Credential: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.config.Level != LevelSession || c.config.Target != TargetAny || c.config.Client == "" || c.config.Addresses[0] != "a:4001" {
		t.Errorf("completed to %+v", c.config)
	}
}

func garbage(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
