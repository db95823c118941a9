package identity_test

import (
	"fmt"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/joinpb"
)

// The first node founds a cluster and mints a token; the second proves that it has the token and becomes node 2.
func Example() {
	authority, err := identity.NewAuthority(identity.Cluster{0xca, 0xfe})
	if err != nil {
		fmt.Println(err)
		return
	}
	token := identity.NewToken(authority.Certificate)

	// The joiner. exporter stands for what both ends derive from their TLS connection.
	exporter := []byte("32 bytes of one TLS connection..")
	request, err := identity.NewRequest()
	if err != nil {
		fmt.Println(err)
		return
	}
	join := &joinpb.JoinRequest{Csr: request.CSR(), Address: "127.0.0.1:4002"}
	token.Prove(join, exporter)

	// The cluster, which knows only what it derived from the token.
	fmt.Println("proof holds:", identity.VerifyProof(token.Key(), join, exporter))
	certificate, err := authority.SignNode(join.Csr, 2)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The joiner again.
	node, err := request.Complete(certificate, authority.Certificate.Raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("node %d of cluster %x\n", node.Node, node.Cluster)
	// Output:
	// proof holds: true
	// node 2 of cluster cafe0000000000000000000000000000
}
