package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"os"
)

// ErrRequest is the cause of the error for a certificate request that cannot be signed.
var ErrRequest = errors.New("bad certificate request")

// Request is a joining node's key and its request for a certificate. The key never leaves it.
type Request struct {
	key ed25519.PrivateKey
	csr []byte
}

// NewRequest makes a node's key. The node does not know its id yet, so the request names none.
func NewRequest() (*Request, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the node's key: %w", err)
	}
	return requestOf(key)
}

// Save makes the key durable at path, readable to its owner alone. A node whose join is interrupted joins with the same key
// later: the cluster admits a key once, and a token is spent once for it.
func (r *Request) Save(path string) error {
	return WriteSecret(path, encodePEM(blockKey, keyDER(r.key)))
}

// LoadRequest makes a request for the key that Save has left at path. The error wraps fs.ErrNotExist if there is none.
func LoadRequest(path string) (*Request, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key of a node that is to join: %w", err)
	}
	block, err := onlyBlock(path, content, blockKey)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(path, block.Bytes)
	if err != nil {
		return nil, err
	}
	return requestOf(key)
}

func requestOf(key ed25519.PrivateKey) (*Request, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "rsqld node"}}, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate request: %w", err)
	}
	return &Request{key: key, csr: csr}, nil
}

// CSR returns the request (PKCS #10, DER).
func (r *Request) CSR() []byte { return r.csr }

// Complete makes an identity of the certificate and the authority's certificate (both DER) that the cluster answered
// with. It checks that they are for this request and belong together.
func (r *Request) Complete(certificateDER, caDER []byte) (*Identity, error) {
	ca, err := parseCertificate("the authority's certificate", caDER)
	if err != nil {
		return nil, err
	}
	return newIdentity(certificateDER, ca, r.key)
}

// CSRKey returns the public key (PKIX, DER) of a request, after a check that its sender has the private one. The error
// wraps [ErrRequest].
func CSRKey(csr []byte) ([]byte, error) {
	request, err := parseRequest(csr)
	if err != nil {
		return nil, err
	}
	return publicDER(request.PublicKey), nil
}

func parseRequest(csr []byte) (*x509.CertificateRequest, error) {
	request, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if _, ok := request.PublicKey.(ed25519.PublicKey); !ok {
		return nil, fmt.Errorf("%w: its key is %v, and Ed25519 is needed", ErrRequest, request.PublicKeyAlgorithm)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: its signature does not match its key: %w", ErrRequest, err)
	}
	return request, nil
}
