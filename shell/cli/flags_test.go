package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/db"
)

// TestNormalize proves that single-dash long flags become long flags, and nothing else changes.
func TestNormalize(t *testing.T) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.StringP("command", "c", "", "")
	flags.String("join", "", "")
	flags.Bool("learner", false, "")
	for in, want := range map[string]string{
		"-join a":                 "--join a",
		"--join a":                "--join a",
		"-join=a -learner":        "--join=a --learner",
		"-learner -join a":        "--learner --join a",
		"-c -join":                "-c -join",
		"-c=x -join y":            "-c=x --join y",
		"-cselect":                "-cselect",
		"-command x":              "--command x",
		"--command -join -join a": "--command -join --join a",
		"-jion a":                 "--jion a",
		"-h":                      "-h",
		"- -- -join":              "- -- -join",
	} {
		if got := strings.Join(normalize(flags, strings.Fields(in)), " "); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// startedWith runs start and returns the configuration that a node would be opened with.
func startedWith(t *testing.T, w *world) (config db.Config, code int) {
	t.Helper()
	w.open = func(_ context.Context, c db.Config) (node, error) {
		config = c
		return nil, errors.New("no node today")
	}
	code = w.run()
	return config, code
}

// TestPrecedence proves: command line before environment before configuration file before default.
func TestPrecedence(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rsqld.conf")
	content := "# a node\n\ndata = from-file\nlisten = 127.0.0.1:5001\nname = \" n 9 \"\nset = a=1\nset = b=2\nlearner = true\njoin=x:1,y:2\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld("--config", path, "-data", "from-flag")
	w.variables["RSQLD_DATA"], w.variables["RSQLD_LISTEN"] = "from-env", "127.0.0.1:6001"
	config, _ := startedWith(t, w)
	want := db.Config{Data: "from-flag", Listen: "127.0.0.1:6001", Name: " n 9 ", Learner: true, Join: []string{"x:1", "y:2"},
		Settings: map[string]string{"a": "1", "b": "2"}}
	config.Logger = nil
	if !reflect.DeepEqual(config, want) {
		t.Errorf("the node gets %+v, want %+v", config, want)
	}
	config, _ = startedWith(t, newWorld())
	if config.Data != "./rsqld-data" || config.Listen != "127.0.0.1:4001" {
		t.Errorf("the defaults are %+v", config)
	}
	w = newWorld("start")
	w.variables["RSQLD_CONFIG"], w.variables["RSQLD_SET"] = path, "c=3,d=4"
	config, _ = startedWith(t, w)
	if want := map[string]string{"c": "3", "d": "4"}; !reflect.DeepEqual(config.Settings, want) || config.Data != "from-file" {
		t.Errorf("with RSQLD_CONFIG and RSQLD_SET the node gets %+v", config)
	}
}

// TestConfigErrors proves that each mistake in a configuration file is named with its line.
func TestConfigErrors(t *testing.T) {
	for content, want := range map[string]string{
		"data = x\nlissten = y\n":  `:2: unknown key "lissten"; did you mean "listen"?`,
		"zebra = 1\n":              `:1: unknown key "zebra"`,
		"config = other\n":         `:1: unknown key "config"`,
		"data\n":                   `:1: "data" is not of the form key = value`,
		"= x\n":                    `:1: "= x" is not of the form key = value`,
		"name = \"x\n":             `:1: the value of name has no closing quotation mark`,
		"name = \"\n":              `:1: the value of name has no closing quotation mark`,
		"learner = perhaps\n":      `:1: invalid argument "perhaps" for "--learner" flag`,
		"log-level = loud\n":       `there are debug, info, warn, error`,
		strings.Repeat("x", 70000): `:1: bufio.Scanner: token too long`,
	} {
		path := filepath.Join(t.TempDir(), "rsqld.conf")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		newWorld("--config", path).expect(t, 2, "", want)
	}
	newWorld("--config", "no/such/file").expect(t, 2, "", "reading the configuration: open no/such/file")
}

// FuzzConfig proves that every configuration file ends in settings or an error.
func FuzzConfig(f *testing.F) {
	f.Add("a = b\n#c\n\nd=\"e\"\n")
	f.Fuzz(func(t *testing.T, content string) {
		settings, err := parseConfig(strings.NewReader(content))
		for _, s := range settings {
			if err == nil && s.key == "" {
				t.Fatalf("%q has a setting without a key", content)
			}
		}
	})
}

// TestMistakes proves that each mistake has one line and exit code 2.
func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"--jion x":                "rsqld: unknown flag --jion; did you mean --join?\n",
		"-jion x":                 "rsqld: unknown flag --jion; did you mean --join?\n",
		"start --zzzzzzzz":        "rsqld: unknown flag --zzzzzzzz; rsqld help start lists the flags\n",
		"sql -x":                  "rsqld sql: unknown flag -x; rsqld help sql lists the flags\n",
		"sql --formt csv":         "rsqld sql: unknown flag --formt; did you mean --format?\n",
		"sql --format cvs":        "there are box, column, csv",
		"sql --level weak":        "there are local, session, linearizable, strong",
		"sql a b":                 "rsqld sql: unexpected argument \"b\"; usage: rsqld sql [FLAGS] [HOST:PORT|DSN]\n",
		"sql -c":                  "flag needs an argument: 'c' in -c",
		"strat":                   "rsqld: unknown command \"strat\"; did you mean start?\n",
		"frobnicate":              "rsqld: unknown command \"frobnicate\"; rsqld help lists the commands\n",
		"help strat":              "rsqld help: unknown command \"strat\"; did you mean start?\n",
		"promote":                 "rsqld promote: which node? usage: rsqld promote ID; rsqld nodes lists them\n",
		"remove":                  "which node?",
		"nodes x":                 "unexpected argument \"x\"",
		"--set x":                 "rsqld: --set \"x\" is not of the form KEY=VALUE\n",
		"--http 127.0.0.1:80":     "this version serves no HTTP",
		"demo x":                  "rsqld demo: \"x\" is no number of nodes\n",
		"demo 0":                  "a demo has 1 to 9 nodes",
		"demo 8 --learners 2":     "a demo has 1 to 9 nodes, learners included, not 8 and 2",
		"bench --clients 0":       "--clients 0 is not from 1 to 1000",
		"bench --batch 0":         "--batch 0 is not from 1 to 10000",
		"bench --duration 0s":     "--duration 0s is not positive",
		"bench --workload queue":  "there are write, read, mixed, bulk, tx",
		"start --learner=perhaps": "invalid argument",
		"start --log-format yaml": "there are text, json",
		"start 127.0.0.1:1":       "unexpected argument",
		"health --raedy":          "did you mean --ready?",
		"transfer 1 2":            "unexpected argument \"2\"",
		"token --lerner":          "did you mean --learner?",
		"frobnicate x":            "unknown command \"frobnicate\"",
	} {
		t.Run(args, func(t *testing.T) {
			w := newWorld(strings.Fields(args)...)
			w.expect(t, 2, "", want)
			if said := w.err.String(); strings.Count(said, "\n") != 1 {
				t.Errorf("more than one line is said: %q", said)
			}
		})
	}
	w := newWorld("start")
	w.variables["RSQLD_LOG_LEVEL"] = "loud"
	w.expect(t, 2, "", "rsqld: the environment variable RSQLD_LOG_LEVEL is \"loud\", which --log-level does not take: there are debug")
}
