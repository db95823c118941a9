// Package identity says who is who in a cluster, and proves it.
//
// # Model
//
// A cluster has one [Authority]: an Ed25519 key and a certificate for it, made when the cluster is founded. Every
// certificate that it signs names its holder in one URI:
//
//	rsqld://<cluster>/<node>                     a node; cluster is 32 hexadecimal digits, node is decimal
//	rsqld://<cluster>/client/<name>?role=admin   a client, with role read, write or admin
//
// The authority's own certificate has rsqld://<cluster>. A node keeps an [Identity] in its tls/ directory, a client a
// [Credential] in one file. A connection's other end is a [Principal]: [PrincipalOf] reads it from a verified
// connection.
//
// # Verification
//
// Host names and IP addresses are not looked at, so that nodes may move. Instead each side checks, for each connection
// (resumed ones too, [tls.Config.VerifyConnection]): TLS 1.3; the chain up to this cluster's authority; the times; the
// key usage; and a URI of this cluster of the sort that the protocol (ALPN) asks for. [tls.Config.InsecureSkipVerify]
// is set because crypto/tls would insist on a host name; nothing is skipped but that.
//
//	ALPN          server shows   client shows
//	rsqld-peer/1  node           node
//	rsqld-sql/1   node           client
//	rsqld-join/1  node           nothing: it proves a token instead
//
// # Joining
//
// A [Token] holds the fingerprint of the authority's certificate and a secret. The joiner compares the fingerprint
// before it sends anything ([Token.TLS]), and proves the secret with an HMAC bound to the TLS connection
// ([Token.Prove]); the secret never leaves it. The cluster stores an id and a key derived from the secret, which verify
// the proof ([VerifyProof]) and from which the token cannot be made again.
//
// # What it does not do
//
// It opens no connection and knows no log. Certificates are not revoked: a node that was removed is refused by the
// membership, not by its certificate. Node certificates last [NodeValidity]; an expired one is refused for everything.
// Accepting a member's expired certificate for its renewal alone is not part of this package yet.
package identity
