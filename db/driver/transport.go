package driver

import (
	"context"

	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
)

// dialWith connects over QUIC, as the holder of a credential.
func dialWith(credential *identity.Credential) dialer {
	return func(ctx context.Context, address string) (connection, error) {
		conn, err := transport.DialSQL(ctx, address, credential, transport.DialOptions{})
		if err != nil {
			return nil, err
		}
		return quicConnection{conn}, nil
	}
}

// quicConnection gives [transport.ClientConn] the result type of [connection].
type quicConnection struct{ *transport.ClientConn }

// OpenStream implements [connection].
func (c quicConnection) OpenStream(ctx context.Context) (Stream, error) {
	s, err := c.ClientConn.OpenStream(ctx)
	if err != nil {
		return nil, err // not a nil *transport.Stream in an interface
	}
	return s, nil
}
