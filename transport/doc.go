// Package transport is a node's one address: a QUIC endpoint on one UDP socket that carries the messages of consensus
// between members, the sessions of clients, and joins.
//
// # Model
//
// An [Endpoint] listens and dials on the same socket. What the other end wants is told by TLS (ALPN), and with it what
// it must show; package identity says whom to trust:
//
//	rsqld-peer/1   a member: one connection per pair of nodes
//	rsqld-sql/1    a client: each stream is a session
//	rsqld-join/1   a node that wants to become a member, and proves a token
//
// [Endpoint.SetPeers] names the members. Each is dialled until it answers, and again when the connection is lost; a
// dead or silent one is noticed after [Limits].PeerSilence. Both sides may dial at once: the connection that the node
// with the lower id dialled stays, and of one dialler the later. When a connection begins, both sides send a hello that
// names cluster, nodes, incarnation, version and execution fingerprint; two nodes that would compute differently refuse
// each other.
//
// # Messages
//
// [Endpoint.Send] never blocks and may lose what it is given, as consensus allows. Heartbeats, votes and their like are
// datagrams: nothing is before them in a queue. Appends and their acknowledgements ride on one ordered stream per
// direction. A small one is handed to QUIC by the goroutine that sends it, and delivered by the goroutine that read it,
// so that a write of the cluster pays for no hand-over here. What QUIC has no room for waits in a queue that is bounded
// in messages and bytes. When messages to a peer were lost, OnUnreachable hears of it.
//
// A message is delivered only if its cluster, sender, receiver and incarnation are those of its connection.
//
// # Sessions
//
// A [Stream] carries frames of protobuf in both directions. [DialSQL] and [ClientConn.OpenStream] open one from a
// client, [Endpoint.Relay] from a member on behalf of a client; OnSession serves both. A sender waits when its receiver
// does not read. The context of a stream ends when its other end does not want it any more, or is gone. Streams of one
// connection that flush at the same moment share packets.
//
// # Snapshots
//
// [Endpoint.SendSnapshot] brings the chunks of a database to a peer on a stream of its own, behind messages and sessions; the
// peer's OnSnapshot says which it lacks and installs them.
//
// # Strangers
//
// Whoever can reach the port can send anything. [Limits] bounds what that costs: handshakes at once and per second,
// those from addresses that may be forged, joins, connections, sessions, frames, and the time that a first frame may
// take. Refusals are counted ([Endpoint.Counters]) and logged, a few lines at a time.
//
// # What it does not do
//
// It gives no meaning to messages, sessions, keys or joins, keeps nothing on disk, and repeats nothing: whether a
// request may be sent again is for those to say who know what it does. It decides nothing about membership: a node with
// a certificate of the cluster is heard although it is no peer, because it may know better.
package transport
