// Package wire turns what nodes and clients say to each other into bytes and back.
//
// The messages themselves are described by the .proto files in this directory, which are their documentation; the
// generated code is in sqlpb (sessions), peerpb (members) and joinpb (joins). This package adds what protobuf has not:
//
//   - frames: a message on a stream is a uvarint length and that many bytes of protobuf ([AppendFrame], [WriteFrame],
//     [ReadFrame], [ReadFrameBytes]). Every kind of message has a limit ([Limit]).
//   - peer messages: [raft.Message] to and from peerpb ([EncodePeer], [AppendPeerFrame], [DecodePeer]).
//   - packed rows: [AppendRow] and its parts, [RowDecoder], [DecodeRows].
//   - values: what a Go program binds to a statement ([ToValue], [FromValue]).
//
// # Contract
//
// Decoders take bytes from strangers. They never panic, and allocate in proportion to the bytes that have arrived, not
// to what a length or a count claims. What they return without an error keeps the rules of the types it is made of: a
// decoded [raft.Append] has contiguous entries with terms that never fall, and no message is from or to node zero.
// Encoders check the same rules, so that a node's own mistake is an error here and not a mystery at its peer.
//
// All functions are safe for concurrent use; a [RowDecoder] belongs to one goroutine.
//
// # What it does not do
//
// It opens no connection, knows no deadline and keeps no state. Whether a message may be acted on (cluster, sender,
// incarnation, role) is for the packages that know the connection it came on.
package wire
