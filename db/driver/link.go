package driver

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Stream is one session's way to a node: *transport.Stream, or whatever a node in this process gives (see
// [NewLocalConnector]). It carries frames of the session protocol, in both directions, in order. One goroutine receives;
// several send, one at a time. Send, Flush and Recv fail once Close was called, in another goroutine too.
type Stream interface {
	// Send takes a *sqlpb.ClientFrame, which leaves with the next Flush. What the frame refers to may be changed afterwards.
	Send(proto.Message) error
	Flush() error
	// Recv fills a *sqlpb.ServerFrame, which belongs to the caller.
	Recv(proto.Message) error
	Close() error
	// Context ends when the stream has.
	Context() context.Context
}

// connection is what all sessions of a Connector at one address share: *transport.ClientConn.
type connection interface {
	OpenStream(context.Context) (Stream, error)
	Close() error
}

// dialer connects to an address.
type dialer func(ctx context.Context, address string) (connection, error)

// link is a connection that is being dialled, or was.
type link struct {
	ready chan struct{} // closed when the two fields below are set
	connection
	err error
}

// links are the connections of a Connector, at most one an address.
type links struct {
	dial dialer
	// ctx ends the dialling that is under way.
	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup // dialling goroutines

	mu   sync.Mutex // guards what follows; not held while a connection is used
	open map[string]*link
	// retired are connections that answered too late: no new session uses them, those that have a stream still may.
	// At most maxRetired, oldest first.
	retired []*link
	closed  bool
}

// maxRetired bounds links.retired: the oldest one, which has been silent for longest, is closed for a new one.
const maxRetired = 8

func newLinks(dial dialer) *links {
	ctx, stop := context.WithCancel(context.Background())
	return &links{dial: dial, ctx: ctx, stop: stop, open: make(map[string]*link)}
}

// get returns the connection to address, which it dials if there is none. Callers share the dialling; fresh says that
// the connection was dialled for this call. A caller that gives up does not end it for the others.
func (l *links) get(ctx context.Context, address string) (found *link, fresh bool, err error) {
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, false, ErrClosed
	}
	found, have := l.open[address]
	if !have {
		found = &link{ready: make(chan struct{})}
		l.open[address] = found
		dialled := found // the result is another variable: a caller that gives up sets it to nil
		l.tasks.Go(func() { l.connect(dialled, address) })
	}
	l.mu.Unlock()
	select {
	case <-found.ready:
		return found, !have, found.err
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
}

func (l *links) connect(to *link, address string) {
	ctx, cancel := context.WithTimeout(l.ctx, DialTimeout)
	defer cancel()
	to.connection, to.err = l.dial(ctx, address)
	close(to.ready)
	if to.err != nil {
		l.drop(address, to)
	}
}

// drop forgets a connection that did not work and closes it; other sessions on it are as lost as the caller's.
func (l *links) drop(address string, broken *link) {
	l.mu.Lock()
	if l.open[address] == broken {
		delete(l.open, address)
	}
	l.mu.Unlock()
	if broken.err == nil {
		broken.Close()
	}
}

// retire keeps new sessions away from a connection that is silent, and perhaps dead, without ending those on it.
func (l *links) retire(address string, silent *link) {
	l.mu.Lock()
	var oldest *link
	if l.open[address] == silent {
		delete(l.open, address)
		if l.retired = append(l.retired, silent); len(l.retired) > maxRetired {
			oldest, l.retired = l.retired[0], l.retired[1:]
		}
	}
	l.mu.Unlock()
	if oldest != nil {
		oldest.Close()
	}
}

// openStream opens a stream to address. A connection from before may have died unnoticed: then it dials once more.
func (l *links) openStream(ctx context.Context, address string) (Stream, *link, error) {
	for {
		found, fresh, err := l.get(ctx, address)
		if err != nil {
			return nil, nil, err
		}
		s, err := found.OpenStream(ctx)
		if err == nil {
			return s, found, nil
		}
		if ctx.Err() == nil {
			l.drop(address, found)
		}
		if fresh || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// close closes all connections and waits for the dialling that was under way.
func (l *links) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.tasks.Wait()
	l.mu.Lock()
	all := slices.AppendSeq(l.retired, maps.Values(l.open)) // connect has dropped those that failed
	l.open, l.retired = make(map[string]*link), nil
	l.mu.Unlock()
	for _, each := range all {
		each.Close()
	}
}
