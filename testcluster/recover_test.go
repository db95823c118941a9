package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDrillRecovery proves: of three nodes two are lost, the founder among them; the third is recovered from, with every
// write that was acknowledged, and grows to three again; a lost node whose disk comes back is told what to do, and does not
// disturb.
func TestDrillRecovery(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	w := startWriters(t, 4, nodes...)
	w.awaitAcks(100)
	w.finish()
	settle(t, nodes...)
	for _, p := range nodes {
		p.kill()
	}
	survivor, back := nodes[2], nodes[1]
	if err := os.RemoveAll(nodes[0].data); err != nil {
		t.Fatal(err)
	}
	out, code := rsqld(t, "", "recover", "--look", survivor.data, back.data)
	if code != 0 || !strings.Contains(out, "2 of 3 voters, a majority") || !strings.Contains(out, "most advanced: ") {
		t.Fatalf("recover --look exits with %d and prints\n%s", code, out)
	}
	out, code = rsqld(t, "", "recover", "--yes", survivor.data)
	credential := filepath.Join(survivor.data, "admin.pem")
	for _, says := range []string{"1 of 3 voters, no majority", "recovered: node", "in epoch 1-", credential + " is a new administrator's credential"} {
		if code != 0 || !strings.Contains(out, says) {
			t.Fatalf("recover exits with %d and prints\n%s\nwant %q", code, out, says)
		}
	}
	founders.Delete(survivor) // its own directory has the credential
	survivor.start()
	w.check(survivor)

	back.launch()
	back.eventually("to be told that it was left behind", func(context.Context) error {
		const says = "was left behind when the cluster was recovered without it"
		if log := back.logs.String(); !strings.Contains(log, says) || !strings.Contains(log, "delete its data directory") {
			return fmt.Errorf("its log does not say %q", says)
		}
		return nil
	})
	before := termOf(t, survivor)
	nodes = []*process{survivor}
	for _, name := range []string{"n4", "n5"} {
		fresh := newProcess(t, name, "--join", survivor.address, "--token", mintToken(t, survivor))
		founders.Store(fresh, survivor)
		nodes = append(nodes, fresh.start())
	}
	awaitVoters(t, 3, nodes...)
	nodes[1].exec("create table after_recovery(x)", "insert into after_recovery values(1)")
	settle(t, nodes...)
	for _, p := range nodes {
		w.check(p)
	}
	if after := termOf(t, survivor); after != before {
		t.Errorf("term %d became %d while the old node was back", before, after)
	}

	// The sentence was right: with an empty directory the old machine is a member again.
	back.kill()
	if err := os.RemoveAll(back.data); err != nil {
		t.Fatal(err)
	}
	founders.Store(back, survivor)
	back.args = []string{"--join", survivor.address, "--token", mintToken(t, survivor)}
	nodes = append(nodes, back.start())
	awaitVoters(t, 4, nodes...)
	report("recovery rows=%d lost=0 voters=%d", w.acked.Load(), len(nodes))
}

// mintToken makes a token with the program.
func mintToken(t *testing.T, p *process) string {
	t.Helper()
	out, code := rsqld(t, "", "token", "--addr", p.address, "--cred", adminOf(p))
	if code != 0 {
		t.Fatalf("token exits with %d: %s", code, out)
	}
	return strings.TrimSpace(out)
}
