package testcluster_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/rsqld/rsqld"

// floors gives each room its floor: a room imports only rooms on lower floors, and no two rooms on one floor know
// each other.
var floors = map[string]int{
	"":                       100, // main
	"/shell/cli":             91,
	"/shell/repl":            90,
	"/testcluster/suites":    81,
	"/testcluster":           80,
	"/testcluster/sim":       79,
	"/db":                    70,
	"/db/driver":             60,
	"/db/engine":             60,
	"/snapshot":              50,
	"/db/dump":               50,
	"/transport":             50,
	"/raft/replica":          50,
	"/db/sqlite":             40,
	"/db/command":            40,
	"/transport/wire":        40,
	"/transport/identity":    40,
	"/raft/wal":              40,
	"/transport/wire/field":  30,
	"/raft":                  30,
	"/raft/tracker":          20,
	"/raft/quorum":           10,
	"/db/command/commandpb":  5,
	"/transport/wire/sqlpb":  5,
	"/transport/wire/peerpb": 5,
	"/transport/wire/joinpb": 5,
}

// doors names the outside packages that only some rooms may import.
var doors = map[string][]string{
	"modernc.org/":                 {"/db/sqlite"},
	"github.com/quic-go/quic-go":   {"/transport"},
	"github.com/spf13/pflag":       {"/shell/cli"},
	"github.com/peterh/liner":      {"/shell/repl", "/shell/cli"},
	"github.com/jedib0t/go-pretty": {"/shell/repl", "/shell/cli"},
}

// TestFloors proves that every room imports only the rooms below it, that the consensus core needs the standard
// library alone, and that each outside library has one door.
func TestFloors(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...").Output()
	if err != nil {
		t.Fatalf("listing imports: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		room := strings.TrimPrefix(fields[0], module)
		floor, known := floors[room]
		if !known {
			t.Errorf("package %q has no floor: give it one in this test, as docs/internals.md has it", room)
			continue
		}
		for _, imported := range fields[1:] {
			checkImport(t, room, floor, imported)
		}
	}
}

func checkImport(t *testing.T, room string, floor int, imported string) {
	t.Helper()
	if below, ours := strings.CutPrefix(imported, module); ours {
		if floors[below] >= floor {
			t.Errorf("%s (floor %d) imports %s (floor %d)", room, floor, below, floors[below])
		}
		return
	}
	outside := strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
	if outside && (room == "/raft" || room == "/raft/tracker" || room == "/raft/quorum") {
		t.Errorf("%s imports %s: the consensus core needs the standard library alone", room, imported)
	}
	for prefix, rooms := range doors {
		if !strings.HasPrefix(imported, prefix) {
			continue
		}
		allowed := false
		for _, r := range rooms {
			allowed = allowed || r == room
		}
		if !allowed {
			t.Errorf("%s imports %s, which only %v may", room, imported, rooms)
		}
	}
}
