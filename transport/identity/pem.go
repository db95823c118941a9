package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	blockCertificate = "CERTIFICATE"
	blockKey         = "PRIVATE KEY"
)

// MaxFile bounds the files that this package reads, in bytes. They are some kilobytes long.
const MaxFile = 1 << 20

// ErrPEM is the cause of the error for a file that is not made of the PEM blocks it should be.
var ErrPEM = errors.New("malformed PEM")

// blocks splits a file into its PEM blocks. Text that belongs to no block is an error: a file that was damaged must not
// pass for a shorter one.
func blocks(what string, content []byte) ([]*pem.Block, error) {
	if len(content) > MaxFile {
		return nil, fmt.Errorf("reading %s: %w: it has %d bytes, and %d are allowed", what, ErrPEM, len(content), MaxFile)
	}
	var found []*pem.Block
	for rest := bytes.TrimSpace(content); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, fmt.Errorf("reading %s: %w: block %d does not begin with -----BEGIN", what, ErrPEM, len(found)+1)
		}
		block, after := pem.Decode(rest)
		// pem.Decode skips a broken block for a whole one behind it, so the one it found must be the next one.
		if block == nil || bytes.Count(rest[:len(rest)-len(after)], []byte("-----BEGIN ")) != 1 {
			return nil, fmt.Errorf("reading %s: %w: block %d is damaged or cut off", what, ErrPEM, len(found)+1)
		}
		found, rest = append(found, block), after
	}
	return found, nil
}

// onlyBlock returns the one block of a file.
func onlyBlock(what string, content []byte, kind string) (*pem.Block, error) {
	found, err := blocks(what, content)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].Type != kind {
		return nil, fmt.Errorf("reading %s: %w: it should hold one block %q and holds %s", what, ErrPEM, kind, kinds(found))
	}
	return found[0], nil
}

func kinds(found []*pem.Block) string {
	if len(found) == 0 {
		return "none"
	}
	var names []string
	for _, block := range found {
		names = append(names, block.Type)
	}
	return fmt.Sprintf("%q", names)
}

func decodeCertificate(what string, content []byte) (*x509.Certificate, error) {
	block, err := onlyBlock(what, content, blockCertificate)
	if err != nil {
		return nil, err
	}
	return parseCertificate(what, block.Bytes)
}

func parseCertificate(what string, der []byte) (*x509.Certificate, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	if _, ok := certificate.PublicKey.(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("reading %s: %w: its key is %v, and Ed25519 is needed", what, ErrCertificate, certificate.PublicKeyAlgorithm)
	}
	return certificate, nil
}

func parseKey(what string, der []byte) (ed25519.PrivateKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading %s: it is a %T, and Ed25519 is needed", what, parsed)
	}
	return key, nil
}

// keyDER encodes a private key as PKCS #8, which cannot fail for an Ed25519 key.
func keyDER(key ed25519.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(fmt.Sprintf("identity: encoding an Ed25519 key: %v", err))
	}
	return der
}

// publicDER encodes a public key as PKIX, which cannot fail for an Ed25519 key.
func publicDER(key any) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(fmt.Sprintf("identity: encoding an Ed25519 public key: %v", err))
	}
	return der
}
