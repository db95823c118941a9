package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCredential proves that a credential file gives the credential back, whatever the order of its blocks.
func TestCredential(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "alice.pem")
	if err := WriteSecret(path, must(w.authority.SignClient("alice@example.org", RoleRead))(t)); err != nil {
		t.Fatal(err)
	}
	loaded := must(LoadCredential(path))(t)
	if loaded.Name != "alice@example.org" || loaded.Role != RoleRead || loaded.Cluster != w.authority.Cluster {
		t.Errorf("loaded %s, role %v, cluster %x", loaded.Name, loaded.Role, loaded.Cluster)
	}
	ca, leaf, key := credentialBlocks(w.client)
	turned := must(ParseCredential(slices.Concat(key, []byte("\r\n \n"), leaf, ca)))(t)
	if !bytes.Equal(turned.PEM(), w.client.PEM()) {
		t.Error("another order of blocks made another credential")
	}
}

func credentialBlocks(c *Credential) (ca, leaf, key []byte) {
	return encodePEM(blockCertificate, c.CA.Raw), encodePEM(blockCertificate, c.Certificate.Certificate[0]),
		encodePEM(blockKey, keyDER(c.Certificate.PrivateKey.(ed25519.PrivateKey)))
}

// TestCredentialRefuses proves that each way a credential file can be wrong has an error that says so.
func TestCredentialRefuses(t *testing.T) {
	w := newWorld(t)
	ca, leaf, key := credentialBlocks(w.client)
	strangersCA := encodePEM(blockCertificate, w.strangers.Certificate.Raw)
	_, otherLeaf, otherKey := credentialBlocks(must(w.authority.NewCredential("bob", RoleRead))(t))
	_, nodeLeaf, nodeKey := credentialBlocks(&Credential{CA: w.two.CA, Certificate: w.two.Certificate})
	curve := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	ecKey := encodePEM(blockKey, must(x509.MarshalPKCS8PrivateKey(curve))(t))
	tests := map[string]struct {
		content [][]byte
		want    string
	}{
		"empty":                  {nil, "it is empty"},
		"no authority":           {[][]byte{leaf, key}, "the authority's certificate is missing"},
		"no certificate":         {[][]byte{ca, key}, "the client's certificate is missing"},
		"no key":                 {[][]byte{ca, leaf}, "the private key is missing"},
		"two keys":               {[][]byte{ca, leaf, key, otherKey}, "two private keys"},
		"two certificates":       {[][]byte{ca, leaf, otherLeaf, key}, "two certificates of the client's sort"},
		"two authorities":        {[][]byte{ca, strangersCA, leaf, key}, "two certificates of the authority's sort"},
		"another's key":          {[][]byte{ca, leaf, otherKey}, "is not for the private key beside it"},
		"another authority":      {[][]byte{strangersCA, leaf, key}, "is for cluster 01020300"},
		"a node":                 {[][]byte{ca, nodeLeaf, nodeKey}, "not of a client"},
		"a key of another curve": {[][]byte{ca, leaf, ecKey}, "Ed25519 is needed"},
		"a token":                {[][]byte{[]byte(NewToken(w.two.CA).String())}, "does not begin with -----BEGIN"},
		"a cut block":            {[][]byte{ca, leaf[:len(leaf)-10], key}, "block 2 is damaged or cut off"},
		"a block inside another": {[][]byte{ca, leaf[:len(leaf)-40], []byte("\n"), key}, "block 2 is damaged or cut off"},
		"a block of another sort": {[][]byte{ca, leaf, encodePEM("CERTIFICATE REQUEST", must(NewRequest())(t).CSR())},
			"it holds a block \"CERTIFICATE REQUEST\""},
		"garbage in a block": {[][]byte{encodePEM(blockCertificate, []byte("garbage"))}, "reading a certificate"},
		"too large":          {[][]byte{make([]byte, MaxFile+1)}, "are allowed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "c.pem")
			if err := os.WriteFile(path, slices.Concat(test.content...), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := LoadCredential(path)
			if !errors.Is(err, ErrCredential) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q and the path", err, test.want)
			}
		})
	}
	if _, err := LoadCredential(filepath.Join(t.TempDir(), "absent.pem")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

// FuzzCredential proves that no file makes the reader panic, and that what it accepts it writes and reads the same.
func FuzzCredential(f *testing.F) {
	w := newWorld(f)
	ca, leaf, key := credentialBlocks(w.client)
	f.Add(w.client.PEM())
	f.Add(slices.Concat(key, ca, leaf))
	f.Add(slices.Concat(ca, leaf))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN -----BEGIN "))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := ParseCredential(content)
		if err != nil {
			if !errors.Is(err, ErrCredential) {
				t.Errorf("error without its cause: %v", err)
			}
			return
		}
		again := must(ParseCredential(c.PEM()))(t)
		if !bytes.Equal(again.PEM(), c.PEM()) || again.Name != c.Name || again.Role != c.Role {
			t.Error("a credential changed on its way through PEM")
		}
	})
}
