package driver

import (
	"context"
	"fmt"
	"sync"
)

// NewLocalConnector returns a Connector of sessions with one node in this process, which open begins without a network; they
// are the same otherwise. [github.com/rsqld/rsqld/db.Node.Connector] is the way to one. open is called by several goroutines;
// node is what errors call the node.
//
// Of config, Addresses, Credential, Cred, Target and Spread do not count: who has a node in his process has its files, and there
// is no other node to go to. Errors wrap [ErrConfig].
func NewLocalConnector(node string, config Config, open func() (Stream, error)) (*Connector, error) {
	config.Addresses, config.Target, config.Spread = []string{"localhost"}, TargetAny, false
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	config.Addresses = []string{node}
	c := newConnector(config, func(context.Context, string) (connection, error) {
		return &localConnection{open: open, set: make(map[Stream]struct{})}, nil
	})
	c.local = true
	return c, nil
}

// localConnection stands for all sessions with the node: with it they end.
type localConnection struct {
	open func() (Stream, error)

	mu     sync.Mutex // guards what follows
	closed bool
	set    map[Stream]struct{} // those that have not ended
}

// OpenStream implements [connection].
func (c *localConnection) OpenStream(context.Context) (Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	c.set[s] = struct{}{}
	context.AfterFunc(s.Context(), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.set, s)
	})
	return s, nil
}

// Close implements [connection].
func (c *localConnection) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for s := range c.set {
		s.Close()
	}
	return nil
}
