package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
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
