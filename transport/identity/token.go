package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/rsqld/rsqld/transport/wire/joinpb"
)

// Token lets a node join. Its text is one line,
//
//	rsqld1-<CA fingerprint>-<secret>-<check>
//
// where fingerprint and secret are 16 bytes in lower-case base32 (26 characters each). The check is four characters
// over the fingerprint and four over the secret, so that a typing error is found, and its place told, before anything
// is sent. The zero Token is not valid.
type Token struct {
	fingerprint [16]byte // the first half of the SHA-256 of the authority's certificate
	secret      [16]byte
}

const tokenPrefix = "rsqld1"

// Lengths of a token's parts, in characters.
const (
	tokenPart  = 26
	tokenCheck = 8
)

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ErrToken is the cause of the error for text that is no join token. The message says which part of it is wrong, and
// never repeats the secret.
var ErrToken = errors.New("not a join token")

// NewToken makes a token for the cluster of an authority's certificate.
func NewToken(ca *x509.Certificate) Token {
	token := Token{fingerprint: fingerprint(ca.Raw)}
	rand.Read(token.secret[:])
	return token
}

func fingerprint(der []byte) [16]byte {
	sum := sha256.Sum256(der)
	return [16]byte(sum[:16])
}

// String returns the token's text, secret and all.
func (t Token) String() string {
	printed, secret := tokenEncoding.EncodeToString(t.fingerprint[:]), tokenEncoding.EncodeToString(t.secret[:])
	return strings.Join([]string{tokenPrefix, printed, secret, checkOf("fingerprint", printed) + checkOf("secret", secret)}, "-")
}

// checkOf is 20 bits of a hash of a part's text.
func checkOf(part, text string) string {
	sum := sha256.Sum256([]byte("rsqld token " + part + " " + text))
	return tokenEncoding.EncodeToString(sum[:])[:tokenCheck/2]
}

// ParseToken reads a token. Letter case and surrounding blanks do not matter. The error wraps [ErrToken].
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.ToLower(strings.TrimSpace(text)), "-")
	fail := func(format string, args ...any) (Token, error) {
		return Token{}, fmt.Errorf("%w: "+format, append([]any{ErrToken}, args...)...)
	}
	switch {
	case text == "":
		return fail("it is empty")
	case parts[0] != tokenPrefix:
		return fail("it begins with %q, not with %s-", clip(parts[0]), tokenPrefix)
	case len(parts) != 4:
		return fail("it has %d parts joined by -, and should have 4: was it copied whole?", len(parts))
	}
	var token Token
	if problem := decodePart(token.fingerprint[:], parts[1]); problem != "" {
		return fail("its second part, the fingerprint, %s", problem)
	}
	if problem := decodePart(token.secret[:], parts[2]); problem != "" {
		return fail("its third part, the secret, %s", problem)
	}
	if problem := characters(parts[3], tokenCheck); problem != "" {
		return fail("its last part, the check, %s", problem)
	}
	badPrint := parts[3][:tokenCheck/2] != checkOf("fingerprint", parts[1])
	badSecret := parts[3][tokenCheck/2:] != checkOf("secret", parts[2])
	switch {
	case badPrint && badSecret:
		return fail("the check at its end does not match: several characters were mistyped")
	case badPrint:
		return fail("its second part, the fingerprint, was mistyped: it does not match the check at the end")
	case badSecret:
		return fail("its third part, the secret, was mistyped: it does not match the check at the end")
	}
	return token, nil
}

// clip shortens what an error repeats.
func clip(text string) string {
	if len(text) > 16 {
		return text[:16] + "…"
	}
	return text
}

// characters says what is wrong with a part's length or characters, or "".
func characters(part string, length int) string {
	if len(part) != length {
		return fmt.Sprintf("has %d characters and should have %d", len(part), length)
	}
	for i, r := range part {
		if !(r >= 'a' && r <= 'z' || r >= '2' && r <= '7') {
			return fmt.Sprintf("has %q as character %d, and only a–z and 2–7 occur", r, i+1)
		}
	}
	return ""
}

// decodePart decodes 16 bytes and says what is wrong, or "".
func decodePart(dst []byte, part string) string {
	if problem := characters(part, tokenPart); problem != "" {
		return problem
	}
	decoded, err := tokenEncoding.DecodeString(part)
	if err != nil || tokenEncoding.EncodeToString(decoded) != part {
		return "was mistyped: its last character does not occur there"
	}
	copy(dst, decoded)
	return ""
}

// derive makes one of the values that the cluster may know of the secret.
func (t Token) derive(purpose string) []byte {
	mac := hmac.New(sha256.New, t.secret[:])
	mac.Write([]byte("rsqld join token " + purpose))
	return mac.Sum(nil)
}

// ID names the token to the cluster. It does not reveal the secret.
func (t Token) ID() [8]byte { return [8]byte(t.derive("id")) }

// Key verifies proofs of the secret. It does not reveal the secret, but whoever has it can make proofs.
func (t Token) Key() [32]byte { return [32]byte(t.derive("key")) }

// Matches reports whether a certificate (DER) is that of the authority the token was made for.
func (t Token) Matches(caDER []byte) bool { return fingerprint(caDER) == t.fingerprint }

// Exporter of the TLS connection that a proof is bound to (RFC 5705, RFC 8446 §7.5).
const (
	exporterLabel  = "EXPORTER-rsqld-join"
	exporterLength = 32
)

// Exporter returns the secret that only the two ends of a connection share. A proof bound to it is worthless on any
// other connection, so it can neither be recorded nor passed on.
func Exporter(state tls.ConnectionState) ([]byte, error) {
	secret, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterLength)
	if err != nil {
		return nil, fmt.Errorf("exporting a secret of the connection: %w", err)
	}
	return secret, nil
}

// TLS returns the configuration for dialling a node to join its cluster. It accepts a node of the cluster whose
// authority has the token's fingerprint, and shows nothing of the joiner.
func (t Token) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{ProtocolJoin},
		InsecureSkipVerify: true, // VerifyConnection verifies all but the host name
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.NegotiatedProtocol != ProtocolJoin {
				return fmt.Errorf("%w: the server does not speak %s", ErrUntrusted, ProtocolJoin)
			}
			for _, ca := range state.PeerCertificates[min(1, len(state.PeerCertificates)):] {
				if t.Matches(ca.Raw) {
					_, err := verify(state, ca, nodes, x509.ExtKeyUsageServerAuth)
					return err
				}
			}
			return fmt.Errorf("%w: the node that answered is of another cluster than the token", ErrUntrusted)
		},
	}
}

// Prove completes a join request with the token's id and a proof of its secret. Everything else in the request that
// proofs cover (CSR, address, name, learner) must be set before.
func (t Token) Prove(request *joinpb.JoinRequest, exporter []byte) {
	id := t.ID()
	request.TokenId = id[:]
	proof := Proof(t.Key(), exporter, request.Csr, request.Address, request.Name, request.Learner)
	request.Proof = proof[:]
}

// Proof is an HMAC-SHA256 by a token's key over what a join asks for and the connection it asks on. Each field goes in
// with its length before it, so that no two requests have the same bytes.
func Proof(key [32]byte, exporter, csr []byte, address, name string, learner bool) [32]byte {
	mac := hmac.New(sha256.New, key[:])
	for _, field := range [][]byte{[]byte("rsqld join proof"), exporter, csr, []byte(address), []byte(name), flag(learner)} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(field))))
		mac.Write(field)
	}
	return [32]byte(mac.Sum(nil))
}

func flag(set bool) []byte {
	if set {
		return []byte{1}
	}
	return []byte{0}
}

// VerifyProof reports whether the proof in a request was made with a token's key on the connection of exporter. It takes
// the same time whatever the proof is.
func VerifyProof(key [32]byte, request *joinpb.JoinRequest, exporter []byte) bool {
	if len(exporter) != exporterLength || bytes.Equal(exporter, make([]byte, exporterLength)) {
		return false // a missing exporter must not bind a proof to nothing
	}
	want := Proof(key, exporter, request.Csr, request.Address, request.Name, request.Learner)
	return hmac.Equal(want[:], request.Proof)
}
