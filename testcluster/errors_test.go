package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/identity"
)

// rsqld runs the program to its end and returns what it printed and its exit code.
func rsqld(t *testing.T, stdin string, args ...string) (output string, code int) {
	t.Helper()
	return rsqldWithin(t, patience, stdin, args...)
}

// rsqldWithin is rsqld for a command that takes its time.
func rsqldWithin(t *testing.T, patience time.Duration, stdin string, args ...string) (output string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	command.Dir = t.TempDir()
	command.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %v: %v", args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v did not end within %v:\n%s", args, patience, &out)
	}
	return out.String(), command.ProcessState.ExitCode()
}

// TestMistakes proves: each mistake has one clear sentence and the right exit code.
func TestMistakes(t *testing.T) {
	t.Parallel()
	n1 := newProcess(t, "n1").start()
	other := newProcess(t, "other").start()
	cred := adminOf(n1)
	token := readFile(t, filepath.Join(n1.data, "join-token"))
	wrong := []byte(strings.TrimSpace(token))
	wrong[len(wrong)/2] ^= 1 // a typing error in the secret
	mixed := t.TempDir()
	if err := os.WriteFile(filepath.Join(mixed, "admin.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		mistake string
		args    []string
		code    int
		says    string
	}{
		{"bad SQL", []string{"sql", n1.address, "--cred", cred, "-c", "selec 1"}, 1, `near "selec": syntax error`},
		{"unknown column", []string{"sql", n1.address, "--cred", cred, "-c", "select nme from sqlite_schema"}, 1, "no such column: nme"},
		{"unknown flag", []string{"--jion", "127.0.0.1:1"}, 2, "--join"},
		{"unknown command", []string{"nodse"}, 2, "nodes"},
		{"no port in an address", []string{"--data", "d", "--listen", "127.0.0.1"}, 2, "HOST:PORT"},
		{"every address without advertise", []string{"--data", "d", "--listen", "0.0.0.0:0"}, 2, "--advertise"},
		{"join without token", []string{"--data", "d", "--listen", "127.0.0.1:0", "--join", n1.address}, 2, "token"},
		{"mistyped token", []string{"--data", "d", "--listen", "127.0.0.1:0", "--join", n1.address, "--token", string(wrong)}, 2, "token"},
		{"token of another cluster", []string{"--data", "d", "--listen", "127.0.0.1:0", "--join", other.address, "--token", strings.TrimSpace(token)}, 1, "another cluster"},
		{"busy port", []string{"--data", "d", "--listen", n1.address}, 1, "in use"},
		{"data directory in use", []string{"--data", n1.data, "--listen", "127.0.0.1:0"}, 1, "in use by another rsqld"},
		{"no data directory", []string{"--data", mixed, "--listen", "127.0.0.1:0"}, 1, "no node.json"},
		{"nobody listens", []string{"sql", freeAddress(t), "--cred", cred, "-c", "select 1"}, 2, "connect"},
		{"no credential", []string{"sql", n1.address, "-c", "select 1"}, 2, "--cred"},
		{"credential of another cluster", []string{"sql", n1.address, "--cred", adminOf(other), "-c", "select 1"}, 2, "cluster"},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			out, code := rsqld(t, "", c.args...)
			if code != c.code || !strings.Contains(out, c.says) {
				t.Errorf("%v exits with %d and prints\n%s\nwant exit code %d and %q", c.args, code, out, c.code, c.says)
			}
			if strings.Contains(out, "goroutine ") {
				t.Errorf("it crashed:\n%s", out)
			}
		})
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// TestDirectoryOfAnotherCluster proves: a log or database that belongs to another node is refused.
func TestDirectoryOfAnotherCluster(t *testing.T) {
	t.Parallel()
	a, b := newProcess(t, "a").start(), newProcess(t, "b").start()
	a.stop()
	b.stop()
	for _, part := range []string{"wal", "db", "tls"} {
		t.Run(part, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mixed")
			if err := os.CopyFS(dir, os.DirFS(a.data)); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(b.data, part))); err != nil {
				t.Fatal(err)
			}
			out, code := rsqld(t, "", "--data", dir, "--listen", "127.0.0.1:0", "--http", "off")
			if code != 1 || !strings.Contains(out, "cluster") {
				t.Errorf("a directory with another cluster's %s exits with %d and prints\n%s", part, code, out)
			}
		})
	}
}

// TestGarbage proves: garbage on the UDP port and strangers at the door disturb no writer, no term, and little memory.
// The long version of it is `make garbage`. It does not run beside the other tests: what they take of the processor is
// not what it measures.
func TestGarbage(t *testing.T) {
	duration := 3 * time.Second
	if text := os.Getenv("RSQLD_GARBAGE"); text != "" {
		var err error
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	before, memory := statusOf(t, leader), residentBytes(t, leader)
	w := startWriters(t, 2, leader)
	w.awaitAcks(100)
	sent := throwGarbage(t, duration, nodes...)
	knockAsStranger(t, leader)
	w.awaitAcks(100)
	w.finish()
	if failed := w.next.Load() - w.acked.Load(); failed != 0 {
		t.Errorf("%d of %d writes failed meanwhile", failed, w.next.Load())
	}
	if after := statusOf(t, leader); after["term"] != before["term"] {
		t.Errorf("the term went from %s to %s", before["term"], after["term"])
	}
	grown := residentBytes(t, leader) - memory
	t.Logf("garbage: %d packets in %v, %d writes meanwhile, memory of the leader grew by %d KiB", sent, duration, w.acked.Load(), grown>>10)
	if grown > 50<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
}

// knockAsStranger tries to get in with a certificate of another cluster, and with a token that was never given out, and
// finds a line for each in the log of the node that refused.
func knockAsStranger(t *testing.T, node *process) {
	t.Helper()
	stranger := newProcess(t, "stranger").start()
	config := node.config()
	config.Credential = adminOf(stranger)
	if err := withConn(t.Context(), config, func(*driver.Conn) error { return nil }); err == nil {
		t.Error("a stranger's certificate was accepted")
	}
	known, err := identity.ParseToken(strings.TrimSpace(readFile(t, filepath.Join(adminDir(node), "join-token"))))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := identity.LoadCredential(adminOf(node))
	if err != nil {
		t.Fatal(err)
	}
	invented := identity.NewToken(ca.CA) // right cluster, secret of its own
	if invented.String() == known.String() {
		t.Fatal("two tokens are equal")
	}
	out, code := rsqld(t, "", "--data", filepath.Join(t.TempDir(), "d"), "--listen", "127.0.0.1:0", "--join", node.address, "--token", invented.String())
	if code != 1 || !strings.Contains(out, "token") {
		t.Errorf("a node with an invented token exits with %d and prints\n%s", code, out)
	}
	for _, line := range []string{"refused a connection", "refused a join"} {
		node.eventually("to have logged that it "+line, func(context.Context) error {
			if !strings.Contains(node.logs.String(), line) {
				return errors.New("there is no such line")
			}
			return nil
		})
	}
}

func adminDir(p *process) string { return filepath.Dir(adminOf(p)) }

// garbagePackets is how many packets each node gets every hundredth of a second.
const garbagePackets = 50

// throwGarbage sends random packets, and packets that begin like QUIC's, to all nodes for a while, from a new address
// each hundredth of a second.
func throwGarbage(t *testing.T, duration time.Duration, nodes ...*process) (sent int) {
	t.Helper()
	packets := garbage(64)
	turns := time.NewTicker(10 * time.Millisecond)
	defer turns.Stop()
	for end := time.Now().Add(duration); time.Now().Before(end); <-turns.C {
		for _, p := range nodes {
			conn, err := net.Dial("udp", p.address)
			if err != nil {
				t.Fatal(err)
			}
			for i := range garbagePackets {
				if _, err := conn.Write(packets[(sent+i)%len(packets)]); err == nil {
					sent++
				}
			}
			conn.Close()
		}
	}
	return sent
}

// garbage makes random packets of 64 to 1250 bytes. Every other one begins like an initial packet of QUIC version 1.
func garbage(count int) (packets [][]byte) {
	chance := rand.New(rand.NewPCG(1, 1))
	for i := range count {
		packet := make([]byte, 64+chance.IntN(1250-64))
		for at := range packet {
			packet[at] = byte(chance.Uint32())
		}
		if i%2 == 0 {
			copy(packet, []byte{0xc3, 0, 0, 0, 1, 8})
		}
		packets = append(packets, packet)
	}
	return packets
}

func statusOf(t *testing.T, p *process) map[string]string {
	t.Helper()
	status := make(map[string]string)
	err := withConn(t.Context(), p.config(), func(c *driver.Conn) error {
		rows, err := control(t.Context(), c, "status")
		for _, row := range rows {
			status[row[0].(string)] = fmt.Sprint(row[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return status
}

var residentLine = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// residentBytes reads a process's resident memory. It is Linux's own figure, and zero elsewhere.
func residentBytes(t *testing.T, p *process) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0
	}
	found := residentLine.FindSubmatch(content)
	if found == nil {
		t.Fatal("no VmRSS")
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
