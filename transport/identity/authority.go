package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// How long certificates last.
const (
	// NodeValidity is how long a node's certificate lasts.
	NodeValidity = 90 * 24 * time.Hour
	// ClientValidity is how long a client's certificate lasts. A client cannot renew its own.
	ClientValidity = 10 * 365 * 24 * time.Hour
	// Backdate is how far a certificate's beginning lies in the past, so that a reader's slow clock accepts it.
	Backdate = time.Hour
)

// noExpiry is the time that means "has no well-defined expiration" (RFC 5280 §4.1.2.5).
var noExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Authority signs a cluster's certificates. Every voter has it. It does not change; all methods are safe for
// concurrent use.
type Authority struct {
	Cluster     Cluster
	Certificate *x509.Certificate
	key         ed25519.PrivateKey
}

// NewAuthority makes the authority of a new cluster.
func NewAuthority(cluster Cluster) (*Authority, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the authority's key: %w", err)
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: fmt.Sprintf("rsqld cluster %x", cluster)},
		NotBefore: time.Now().Add(-Backdate), NotAfter: noExpiry,
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
		URIs:     []*url.URL{clusterURI(cluster)},
	}
	der, err := x509.CreateCertificate(rand.Reader, serial(template), template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing the authority's certificate: %w", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the authority's certificate back: %w", err)
	}
	return &Authority{Cluster: cluster, Certificate: certificate, key: key}, nil
}

// serial gives a certificate a random serial number.
func serial(template *x509.Certificate) *x509.Certificate {
	var b [16]byte
	rand.Read(b[:])
	b[0] &= 0x7f // a serial number is positive
	b[0] |= 0x40 // and this one never zero
	template.SerialNumber = new(big.Int).SetBytes(b[:])
	return template
}

// LoadAuthority returns the authority of a certificate and its private key (PKCS #8), both in PEM.
func LoadAuthority(certificatePEM, keyPEM []byte) (*Authority, error) {
	certificate, err := decodeCertificate("the authority's certificate", certificatePEM)
	if err != nil {
		return nil, err
	}
	block, err := onlyBlock("the authority's key", keyPEM, blockKey)
	if err != nil {
		return nil, err
	}
	return newAuthority(certificate, block.Bytes)
}

// newAuthority checks that the key is the certificate's.
func newAuthority(certificate *x509.Certificate, keyDER []byte) (*Authority, error) {
	cluster, err := clusterOf(certificate)
	if err != nil {
		return nil, err
	}
	key, err := parseKey("the authority's key", keyDER)
	if err != nil {
		return nil, err
	}
	if !key.Public().(ed25519.PublicKey).Equal(certificate.PublicKey) {
		return nil, fmt.Errorf("the key is not that of the authority of cluster %x", cluster)
	}
	return &Authority{Cluster: cluster, Certificate: certificate, key: key}, nil
}

// KeyDER returns the private key (PKCS #8), which makes whoever has it master of the cluster.
func (a *Authority) KeyDER() []byte { return keyDER(a.key) }

// SaveKey makes the private key durable as ca.key in a node's tls directory, readable to its owner alone.
func (a *Authority) SaveKey(dir string) error {
	return WriteSecret(filepath.Join(dir, fileAuthorityKey), encodePEM(blockKey, a.KeyDER()))
}

// SignNode returns the certificate (DER) of a node for the key in its request (PKCS #10, DER; see [Request]). Nothing
// else in the request is looked at.
func (a *Authority) SignNode(csr []byte, node raft.ID) ([]byte, error) {
	request, err := parseRequest(csr)
	if err != nil {
		return nil, err
	}
	return a.signNode(request.PublicKey.(ed25519.PublicKey), node)
}

func (a *Authority) signNode(key ed25519.PublicKey, node raft.ID) ([]byte, error) {
	if node == 0 {
		return nil, errors.New("signing a node's certificate: node ids begin at 1")
	}
	return a.sign(key, &x509.Certificate{
		Subject:     pkix.Name{CommonName: fmt.Sprintf("rsqld node %d", node)},
		NotAfter:    time.Now().Add(NodeValidity),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{nodeURI(a.Cluster, node)},
	})
}

func (a *Authority) sign(key ed25519.PublicKey, template *x509.Certificate) ([]byte, error) {
	template.NotBefore = time.Now().Add(-Backdate)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, serial(template), a.Certificate, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate of %s: %w", template.Subject.CommonName, err)
	}
	return der, nil
}

// NewIdentity makes key and certificate of a node: of the founder, which has nobody to ask.
func (a *Authority) NewIdentity(node raft.ID) (*Identity, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the node's key: %w", err)
	}
	der, err := a.signNode(public, node)
	if err != nil {
		return nil, err
	}
	return newIdentity(der, a.Certificate, key)
}

// NewCredential makes the credential of a client. The name is for people and logs: letters, digits and - _ . @.
func (a *Authority) NewCredential(name string, role Role) (*Credential, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if _, known := roles[role]; !known {
		return nil, fmt.Errorf("%v is no role", role)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the client's key: %w", err)
	}
	der, err := a.sign(public, &x509.Certificate{
		Subject:     pkix.Name{CommonName: "rsqld client " + name},
		NotAfter:    time.Now().Add(ClientValidity),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{clientURI(a.Cluster, name, role)},
	})
	if err != nil {
		return nil, err
	}
	return newCredential(der, a.Certificate, key)
}

// SignClient is [Authority.NewCredential] encoded as a credential file.
func (a *Authority) SignClient(name string, role Role) ([]byte, error) {
	credential, err := a.NewCredential(name, role)
	if err != nil {
		return nil, err
	}
	return credential.PEM(), nil
}

// readAuthority returns the authority of the key in dir, or nil if there is none.
func readAuthority(dir string, certificate *x509.Certificate) (*Authority, error) {
	path := filepath.Join(dir, fileAuthorityKey)
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the authority's key: %w", err)
	}
	block, err := onlyBlock(path, content, blockKey)
	if err != nil {
		return nil, err
	}
	authority, err := newAuthority(certificate, block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return authority, nil
}

// pair joins key and certificate chain as crypto/tls wants them. The authority's certificate is sent too, so that a
// joiner, who has only its fingerprint, sees it.
func pair(leaf, ca *x509.Certificate, key ed25519.PrivateKey) tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: key, Leaf: leaf}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
