package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestSaveLoad proves that an identity and its authority's key survive a restart, and that secrets are not readable to
// others.
func TestSaveLoad(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "tls")
	if err := w.two.Save(dir); err != nil {
		t.Fatal(err)
	}
	loaded := must(Load(dir))(t)
	if loaded.Node != 2 || loaded.Cluster != w.authority.Cluster || string(loaded.PublicKey()) != string(w.two.PublicKey()) {
		t.Errorf("loaded node %d of cluster %x", loaded.Node, loaded.Cluster)
	}
	if authority, err := loaded.LoadAuthority(dir); authority != nil || err != nil {
		t.Errorf("without ca.key: %v, %v", authority, err)
	}
	if err := w.authority.SaveKey(dir); err != nil {
		t.Fatal(err)
	}
	authority := must(loaded.LoadAuthority(dir))(t)
	if third := must(authority.NewIdentity(3))(t); third.Certificate.Leaf.CheckSignatureFrom(w.authority.Certificate) != nil {
		t.Error("the loaded authority signs with another key")
	}
	entries := must(os.ReadDir(dir))(t)
	if len(entries) != 4 {
		t.Errorf("the directory holds %v, want 4 files", entries)
	}
	for name, want := range map[string]fs.FileMode{fileKey: 0o600, fileAuthorityKey: 0o600, fileCertificate: 0o644, fileAuthority: 0o644} {
		if mode := must(os.Stat(filepath.Join(dir, name)))(t).Mode().Perm(); mode != want && runtime.GOOS != "windows" {
			t.Errorf("%s has mode %v, want %v", name, mode, want)
		}
	}
}

// TestLoadRefuses proves that a tls directory whose files do not belong together is refused with the reason.
func TestLoadRefuses(t *testing.T) {
	w := newWorld(t)
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	stranger := must(w.strangers.NewIdentity(2))(t)
	tests := map[string]struct {
		file    string
		content []byte // nil: removed
		want    string
	}{
		"no key":                {fileKey, nil, "no such file"},
		"another key":           {fileKey, encodePEM(blockKey, keyDER(key)), "not for the private key"},
		"a cut key":             {fileKey, encodePEM(blockKey, keyDER(key))[:60], "damaged or cut off"},
		"a certificate as key":  {fileKey, encodePEM(blockCertificate, w.two.CA.Raw), "should hold one block \"PRIVATE KEY\""},
		"an empty certificate":  {fileCertificate, []byte{}, "holds none"},
		"garbage":               {fileCertificate, []byte("garbage"), "does not begin with -----BEGIN"},
		"another cluster's":     {fileCertificate, encodePEM(blockCertificate, stranger.Certificate.Certificate[0]), "is for cluster 09000000"},
		"another authority":     {fileAuthority, encodePEM(blockCertificate, w.strangers.Certificate.Raw), "the authority's is for cluster 09000000"},
		"a client":              {fileCertificate, encodePEM(blockCertificate, w.client.Certificate.Certificate[0]), "not for the private key"},
		"a node as authority":   {fileAuthority, encodePEM(blockCertificate, w.two.Certificate.Certificate[0]), "is no cluster's authority"},
		"two blocks in a file":  {fileAuthority, append(encodePEM(blockCertificate, w.two.CA.Raw), encodePEM(blockCertificate, w.two.CA.Raw)...), "should hold one block"},
		"text behind the block": {fileAuthority, append(encodePEM(blockCertificate, w.two.CA.Raw), "tail"...), "does not begin with -----BEGIN"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tls")
			if err := w.two.Save(dir); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, test.file)
			if test.content == nil {
				os.Remove(path)
			} else if err := os.WriteFile(path, test.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	dir := t.TempDir()
	if err := w.strangers.SaveKey(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := w.one.LoadAuthority(dir); err == nil || !strings.Contains(err.Error(), "not that of the authority") {
		t.Errorf("another authority's key: %v", err)
	}
}

// TestWriteSecret proves that a secret replaces what was there whole, and leaves nothing beside it when it cannot.
func TestWriteSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "admin.pem")
	for _, content := range []string{"first", "second"} {
		if err := WriteSecret(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := string(must(os.ReadFile(path))(t)); got != content {
			t.Errorf("read %q, want %q", got, content)
		}
	}
	blocked := filepath.Join(dir, "blocked")
	if err := os.MkdirAll(filepath.Join(blocked, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteSecret(blocked, []byte("x")); err == nil {
		t.Error("a directory was replaced by a file")
	}
	if entries := must(os.ReadDir(dir))(t); len(entries) != 2 {
		t.Errorf("the directory holds %v, want admin.pem and blocked", entries)
	}
}

// TestRequest proves that a joiner becomes a node with what the cluster answers, and only with that.
func TestRequest(t *testing.T) {
	w := newWorld(t)
	request := must(NewRequest())(t)
	der := must(w.authority.SignNode(request.CSR(), 7))(t)
	id := must(request.Complete(der, w.authority.Certificate.Raw))(t)
	if id.Node != 7 || id.Cluster != w.authority.Cluster {
		t.Errorf("became node %d of %x", id.Node, id.Cluster)
	}
	if key := must(CSRKey(request.CSR()))(t); string(key) != string(id.PublicKey()) {
		t.Error("the request's key is not the identity's")
	}
	if _, err := must(NewRequest())(t).Complete(der, w.authority.Certificate.Raw); err == nil {
		t.Error("a certificate for another request was taken")
	}
	if _, err := request.Complete(der, w.strangers.Certificate.Raw); err == nil {
		t.Error("a certificate of another authority was taken")
	}
	broken := append([]byte{}, request.CSR()...)
	broken[len(broken)-1] ^= 1
	for name, csr := range map[string][]byte{"broken": broken, "empty": nil, "cut": broken[:20]} {
		if _, err := CSRKey(csr); !errors.Is(err, ErrRequest) {
			t.Errorf("%s request: %v", name, err)
		}
		if _, err := w.authority.SignNode(csr, 7); !errors.Is(err, ErrRequest) {
			t.Errorf("signing a %s request: %v", name, err)
		}
	}
}

// TestAuthority proves that an authority goes through PEM and DER unchanged and refuses another's key.
func TestAuthority(t *testing.T) {
	w := newWorld(t)
	loaded := must(LoadAuthority(encodePEM(blockCertificate, w.authority.Certificate.Raw), encodePEM(blockKey, w.authority.KeyDER())))(t)
	if !loaded.key.Equal(w.authority.key) || loaded.Cluster != w.authority.Cluster {
		t.Error("the authority changed on its way")
	}
	if _, err := w.two.TakeAuthority(w.authority.KeyDER()); err != nil {
		t.Errorf("taking the key: %v", err)
	}
	for name, key := range map[string][]byte{"another's": w.strangers.KeyDER(), "empty": nil, "garbage": []byte("garbage")} {
		if _, err := w.two.TakeAuthority(key); err == nil {
			t.Errorf("%s key was taken", name)
		}
	}
}
