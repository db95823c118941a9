package driver

import (
	"fmt"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A cluster that was recovered from one copy after the loss of its majority is in another epoch. It may have lost what sessions
// have seen, so that the index they have seen means nothing in it; and nodes of the epoch before, whose disks came back, are
// no part of it, and answer all the same.

// enter takes the epoch of a node that opened a session. A later one than is known begins the memory of what was seen anew; a
// node of an earlier one, or of a recovery made apart, is refused like one that is away.
func (c *Connector) enter(w *sqlpb.Welcome) error {
	epoch, err := identity.ParseEpoch(w.Epoch)
	if err != nil {
		return protocolError("node %d names an epoch that this driver does not know: %v", w.Node, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch known := c.epoch; {
	case epoch == known:
		return nil
	case epoch.Number > known.Number:
		c.epoch = epoch
		c.index.Store(0)
		return nil
	case epoch.Number == known.Number:
		return fmt.Errorf("node %d is of another cluster by now: it was recovered apart (epoch %v, and the others are of %v)",
			w.Node, epoch, known)
	default:
		return fmt.Errorf("node %d was left behind when the cluster was recovered without it (its epoch is %v, the cluster's %v)",
			w.Node, epoch, known)
	}
}
