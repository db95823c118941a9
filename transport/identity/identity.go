package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/raft"
)

// Files of a node's tls directory.
const (
	fileAuthority    = "ca.crt"
	fileCertificate  = "node.crt"
	fileKey          = "node.key"
	fileAuthorityKey = "ca.key" // on voters only
)

// Identity is what a node shows to prove that it is a member. It does not change.
type Identity struct {
	Cluster Cluster
	Node    raft.ID
	// Certificate is the node's, followed by the authority's, with the node's key.
	Certificate tls.Certificate
	// CA is the certificate of the cluster's authority.
	CA *x509.Certificate
}

// newIdentity checks that certificate, authority and key belong together. It does not look at the time: a node whose
// certificate has expired still knows who it is.
func newIdentity(der []byte, ca *x509.Certificate, key ed25519.PrivateKey) (*Identity, error) {
	leaf, cluster, principal, err := match("the node's certificate", der, ca, key)
	if err != nil {
		return nil, err
	}
	if principal.Node == 0 {
		return nil, fmt.Errorf("the certificate is that of %v, not of a node", principal)
	}
	return &Identity{Cluster: cluster, Node: principal.Node, Certificate: pair(leaf, ca, key), CA: ca}, nil
}

// match checks that a certificate is for key and was signed by the authority of the cluster it names.
func match(what string, der []byte, ca *x509.Certificate, key ed25519.PrivateKey) (*x509.Certificate, Cluster, Principal, error) {
	fail := func(err error) (*x509.Certificate, Cluster, Principal, error) {
		return nil, Cluster{}, Principal{}, err
	}
	leaf, err := parseCertificate(what, der)
	if err != nil {
		return fail(err)
	}
	authority, err := clusterOf(ca)
	if err != nil {
		return fail(err)
	}
	cluster, principal, err := holder(leaf)
	if err != nil {
		return fail(fmt.Errorf("reading %s: %w", what, err))
	}
	switch {
	case cluster != authority:
		return fail(fmt.Errorf("%s is for cluster %x and the authority's is for cluster %x", what, cluster, authority))
	case !key.Public().(ed25519.PublicKey).Equal(leaf.PublicKey):
		return fail(fmt.Errorf("%s is not for the private key beside it", what))
	}
	if err := leaf.CheckSignatureFrom(ca); err != nil {
		return fail(fmt.Errorf("%s was not signed by the authority beside it: %w", what, err))
	}
	return leaf, cluster, principal, nil
}

// PublicKey returns the node's public key (PKIX, DER).
func (i *Identity) PublicKey() []byte { return publicDER(i.Certificate.Leaf.PublicKey) }

// Load reads the identity from a tls directory.
func Load(dir string) (*Identity, error) {
	read := func(name string) ([]byte, string, error) {
		path := filepath.Join(dir, name)
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, path, fmt.Errorf("reading the node's identity: %w", err)
		}
		return content, path, nil
	}
	content, path, err := read(fileAuthority)
	if err != nil {
		return nil, err
	}
	ca, err := decodeCertificate(path, content)
	if err != nil {
		return nil, err
	}
	if content, path, err = read(fileKey); err != nil {
		return nil, err
	}
	block, err := onlyBlock(path, content, blockKey)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(path, block.Bytes)
	if err != nil {
		return nil, err
	}
	if content, path, err = read(fileCertificate); err != nil {
		return nil, err
	}
	if block, err = onlyBlock(path, content, blockCertificate); err != nil {
		return nil, err
	}
	id, err := newIdentity(block.Bytes, ca, key)
	if err != nil {
		return nil, fmt.Errorf("in %s: %w", dir, err)
	}
	return id, nil
}

// Save makes the identity durable in a tls directory, which it makes if need be. The key comes first: a crash on the way
// leaves no certificate without its key.
func (i *Identity) Save(dir string) error {
	if err := makeDirectory(dir); err != nil {
		return err
	}
	key, ok := i.Certificate.PrivateKey.(ed25519.PrivateKey)
	if !ok {
		return errors.New("saving the node's identity: it has no key")
	}
	if err := WriteSecret(filepath.Join(dir, fileKey), encodePEM(blockKey, keyDER(key))); err != nil {
		return err
	}
	if err := writePublic(filepath.Join(dir, fileAuthority), encodePEM(blockCertificate, i.CA.Raw)); err != nil {
		return err
	}
	return writePublic(filepath.Join(dir, fileCertificate), encodePEM(blockCertificate, i.Certificate.Certificate[0]))
}

// LoadAuthority reads the authority's key from a tls directory. It returns nil without an error if the node has none.
func (i *Identity) LoadAuthority(dir string) (*Authority, error) { return readAuthority(dir, i.CA) }

// TakeAuthority returns the authority of a private key (PKCS #8) that another node sent, if it is this cluster's.
func (i *Identity) TakeAuthority(keyDER []byte) (*Authority, error) {
	return newAuthority(i.CA, keyDER)
}
