package transport_test

import (
	"context"
	"fmt"
	"log"

	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A node serves sessions, and a client opens one.
func Example() {
	authority, err := identity.NewAuthority(identity.Cluster{1})
	if err != nil {
		log.Fatal(err)
	}
	node, err := authority.NewIdentity(1)
	if err != nil {
		log.Fatal(err)
	}
	endpoint, err := transport.Listen(transport.Config{
		Listen: "127.0.0.1:0", Identity: node, Incarnation: 42,
		OnSession: func(_ context.Context, s *transport.Session) {
			var request sqlpb.ClientFrame
			if err := s.Recv(&request); err != nil {
				return
			}
			// What is sent here is flushed when the session ends.
			s.Send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Welcome{Welcome: &sqlpb.Welcome{
				Node: 1, Product: "hello, " + s.Principal.Name}}})
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer endpoint.Close()

	ann, err := authority.NewCredential("ann", identity.RoleWrite)
	if err != nil {
		log.Fatal(err)
	}
	conn, err := transport.DialSQL(context.Background(), endpoint.Addr().String(), ann, transport.DialOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	session, err := conn.OpenStream(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close()
	hello := &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: &sqlpb.Hello{Version: 1}}}
	if err := session.Send(hello); err != nil {
		log.Fatal(err)
	}
	if err := session.Flush(); err != nil {
		log.Fatal(err)
	}
	var answer sqlpb.ServerFrame
	if err := session.Recv(&answer); err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer.GetWelcome().Product)
	// Output: hello, ann
}
