package db

import (
	"errors"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/identity"
)

// localClient is what sessions in the node's own process are called in lists of sessions.
const localClient = "embedded"

// errNodeClosed is why a node opens no session any more.
var errNodeClosed = errors.New("this node is closed")

// Connector returns a Connector whose sessions are served by this node without a network, for [database/sql.OpenDB]. They are
// sessions like any other, at the levels of any other, with the role admin: writes go to the leader, whichever node that is. It
// works until the node is closed, and is closed by the caller, or by [database/sql.DB.Close]; each call returns another one.
func (n *Node) Connector() *driver.Connector {
	c, err := n.ConnectorWith(driver.Config{})
	if err != nil {
		panic(err) // there is nothing in an empty configuration that could be wrong
	}
	return c
}

// ConnectorWith is Connector with a configuration, of which Addresses, Credential, Cred, Target and Spread do not count. Errors
// wrap [driver.ErrConfig].
func (n *Node) ConnectorWith(config driver.Config) (*driver.Connector, error) {
	return driver.NewLocalConnector(n.address, config, n.openLocal)
}

// openLocal begins a session with a client in this process.
func (n *Node) openLocal() (driver.Stream, error) {
	n.entering.Lock()
	defer n.entering.Unlock()
	if n.closed {
		return nil, errNodeClosed
	}
	client, node := newPipe(n.ctx.Done())
	n.group.Go(func() {
		defer node.finish()
		who := identity.Principal{Name: localClient, Role: identity.RoleAdmin}
		n.serve(node.ctx, &session{stream: node, principal: who, remote: n.address})
	})
	return client, nil
}
