package identity

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/rsqld/rsqld/raft"
)

// Cluster is the random id of a cluster. People read it as 32 hexadecimal digits (%x).
type Cluster = [16]byte

// Role is what a client may do. A higher role includes the lower ones.
type Role uint8

const (
	// RoleRead may run statements that only read.
	RoleRead Role = iota + 1
	// RoleWrite may run every statement.
	RoleWrite
	// RoleAdmin may also change the cluster.
	RoleAdmin
)

var roles = map[Role]string{RoleRead: "read", RoleWrite: "write", RoleAdmin: "admin"}

func (r Role) String() string {
	if text, known := roles[r]; known {
		return text
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// ParseRole is the inverse of [Role.String].
func ParseRole(text string) (Role, error) {
	for role, known := range roles {
		if text == known {
			return role, nil
		}
	}
	return 0, fmt.Errorf("role %q is none of read, write and admin", text)
}

// MaxName bounds the name of a client in bytes.
const MaxName = 64

// Principal is who is at the other end of a connection: a node or a client of the cluster.
type Principal struct {
	Name string  // the client's name; of a node "node 3"
	Role Role    // of a client; a node has RoleAdmin
	Node raft.ID // zero: a client
}

func (p Principal) String() string {
	if p.Node != 0 {
		return p.Name
	}
	return fmt.Sprintf("client %q (%s)", p.Name, p.Role)
}

// ErrCertificate is the cause of the error for a certificate that is not what this package issues.
var ErrCertificate = errors.New("not an rsqld certificate")

func clusterURI(cluster Cluster) *url.URL {
	return &url.URL{Scheme: "rsqld", Host: hex.EncodeToString(cluster[:])}
}

func nodeURI(cluster Cluster, node raft.ID) *url.URL {
	u := clusterURI(cluster)
	u.Path = "/" + strconv.FormatUint(uint64(node), 10)
	return u
}

func clientURI(cluster Cluster, name string, role Role) *url.URL {
	u := clusterURI(cluster)
	u.Path = "/client/" + name
	u.RawQuery = "role=" + role.String()
	return u
}

// checkName refuses names that would not come out of a URI as they went in, or that would confuse a reader of logs.
func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("client name %q has %d bytes, and 1 to %d are allowed", name, len(name), MaxName)
	}
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.@", r)) {
			return fmt.Errorf("client name %q holds %q: letters, digits and - _ . @ are allowed", name, r)
		}
	}
	return nil
}

// clusterOf returns the cluster of an authority's certificate.
func clusterOf(ca *x509.Certificate) (Cluster, error) {
	if !ca.IsCA || len(ca.URIs) != 1 || ca.URIs[0].Path != "" || ca.URIs[0].RawQuery != "" {
		return Cluster{}, fmt.Errorf("%w: %q is no cluster's authority", ErrCertificate, ca.Subject)
	}
	return parseCluster(ca.URIs[0])
}

func parseCluster(u *url.URL) (cluster Cluster, err error) {
	id, err := hex.DecodeString(u.Host)
	if u.Scheme != "rsqld" || err != nil || len(id) != len(cluster) || u.Host != strings.ToLower(u.Host) || u.User != nil || u.Fragment != "" {
		return cluster, fmt.Errorf("%w: it is for %q, not for rsqld://CLUSTER", ErrCertificate, u)
	}
	return Cluster(id), nil
}

// holder returns cluster and holder of a certificate that is no authority's. It does not verify the certificate.
func holder(certificate *x509.Certificate) (Cluster, Principal, error) {
	if certificate.IsCA || len(certificate.URIs) != 1 {
		return Cluster{}, Principal{}, fmt.Errorf("%w: %q has %d URIs and should have one", ErrCertificate, certificate.Subject, len(certificate.URIs))
	}
	u := certificate.URIs[0]
	cluster, err := parseCluster(u)
	if err != nil {
		return Cluster{}, Principal{}, err
	}
	principal, err := parsePrincipal(u)
	if err != nil {
		return Cluster{}, Principal{}, fmt.Errorf("%w: it is for %q: %w", ErrCertificate, u, err)
	}
	return cluster, principal, nil
}

func parsePrincipal(u *url.URL) (Principal, error) {
	if name, client := strings.CutPrefix(u.Path, "/client/"); client {
		if err := checkName(name); err != nil {
			return Principal{}, err
		}
		query, isRole := strings.CutPrefix(u.RawQuery, "role=")
		if !isRole {
			return Principal{}, errors.New("a client's URI ends in ?role=ROLE")
		}
		role, err := ParseRole(query)
		if err != nil {
			return Principal{}, err
		}
		return Principal{Name: name, Role: role}, nil
	}
	digits := strings.TrimPrefix(u.Path, "/")
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || id == 0 || strconv.FormatUint(id, 10) != digits || u.RawQuery != "" {
		return Principal{}, errors.New("a node's URI ends in /ID")
	}
	return nodePrincipal(raft.ID(id)), nil
}

func nodePrincipal(node raft.ID) Principal {
	return Principal{Name: fmt.Sprintf("node %d", node), Role: RoleAdmin, Node: node}
}
