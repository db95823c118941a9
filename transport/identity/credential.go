package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Credential is what a client shows to be let in: a file with three PEM blocks, the authority's certificate, the
// client's certificate and its private key, in any order. It does not change.
type Credential struct {
	Cluster Cluster
	Name    string
	Role    Role
	// Certificate is the client's, followed by the authority's, with the client's key.
	Certificate tls.Certificate
	CA          *x509.Certificate
}

// ErrCredential is the cause of the error for a file that is no credential. The message says what is wrong with it.
var ErrCredential = errors.New("not a usable credential")

func newCredential(der []byte, ca *x509.Certificate, key ed25519.PrivateKey) (*Credential, error) {
	leaf, cluster, principal, err := match("the client's certificate", der, ca, key)
	if err != nil {
		return nil, err
	}
	if principal.Node != 0 {
		return nil, fmt.Errorf("the certificate is that of %v, not of a client", principal)
	}
	return &Credential{Cluster: cluster, Name: principal.Name, Role: principal.Role, Certificate: pair(leaf, ca, key), CA: ca}, nil
}

// PEM returns the content of the credential's file.
func (c *Credential) PEM() []byte {
	key := c.Certificate.PrivateKey.(ed25519.PrivateKey)
	return slices.Concat(encodePEM(blockCertificate, c.CA.Raw), encodePEM(blockCertificate, c.Certificate.Certificate[0]),
		encodePEM(blockKey, keyDER(key)))
}

// LoadCredential reads a credential file. Errors name the file; those of its content wrap [ErrCredential].
func LoadCredential(path string) (*Credential, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the credential: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading the credential: %w", err)
	}
	credential, err := ParseCredential(content)
	if err != nil {
		return nil, fmt.Errorf("reading the credential %s: %w", path, err)
	}
	return credential, nil
}

// ParseCredential reads the content of a credential file. The error wraps [ErrCredential]. It does not look at the
// time: an expired certificate is refused when a connection is made, by both ends.
func ParseCredential(content []byte) (*Credential, error) {
	credential, err := parseCredential(content)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCredential, err)
	}
	return credential, nil
}

func parseCredential(content []byte) (*Credential, error) {
	found, err := blocks("it", content)
	if err != nil {
		return nil, err
	}
	var parts credentialParts
	for _, block := range found {
		if err := parts.add(block); err != nil {
			return nil, err
		}
	}
	switch {
	case len(found) == 0:
		return nil, errors.New("it is empty")
	case parts.ca == nil:
		return nil, errors.New("the authority's certificate is missing")
	case parts.leaf == nil:
		return nil, errors.New("the client's certificate is missing")
	case parts.key == nil:
		return nil, errors.New("the private key is missing")
	}
	return newCredential(parts.leaf.Raw, parts.ca, parts.key)
}

// credentialParts are the blocks of a credential as far as they were found.
type credentialParts struct {
	ca, leaf *x509.Certificate
	key      ed25519.PrivateKey
}

func (p *credentialParts) add(block *pem.Block) error {
	switch block.Type {
	case blockKey:
		key, err := parseKey("the private key", block.Bytes)
		if err == nil && p.key != nil {
			err = errors.New("it holds two private keys")
		}
		p.key = key
		return err
	case blockCertificate:
		certificate, err := parseCertificate("a certificate", block.Bytes)
		if err != nil {
			return err
		}
		what, place := "client's", &p.leaf
		if certificate.IsCA {
			what, place = "authority's", &p.ca
		}
		if *place != nil {
			return fmt.Errorf("it holds two certificates of the %s sort", what)
		}
		*place = certificate
		return nil
	}
	return fmt.Errorf("it holds a block %q: CERTIFICATE and PRIVATE KEY belong in it", block.Type)
}
