// Package command says what a log entry of kind "command" holds, and turns it into bytes and back.
//
// # Model
//
// A Command is the leader's stamp (time, seed, session and the session's number of this write) and one body: a Script
// of SQL, or one of the cluster's own commands (Bootstrap, MintToken, UseToken, SetMember). The message types are in
// commandpb, generated from command.proto, which is the documentation of the format.
//
// # Contract
//
// Encode refuses everything that Decode refuses: an entry that could not be decoded would stop every replica of the
// cluster at its index, so nothing of that kind may reach the log. What both look at is the shape alone (version, body,
// lengths); whether SQL is valid is for the engine to say, with a result that is the same on every replica.
//
// Decode accepts the versions 1 to Version. A newer one, written by a newer program while the cluster is upgraded, is a
// *VersionError: this node must stop before that entry, because executing what it understands of it would diverge.
// Unknown fields of a known version are ignored.
//
// A [Decoder] does what Decode does, without an allocation for nearly every command: the engine decodes each entry of the
// log by one.
//
// # What it does not do
//
// It does not execute, classify or order anything, and it does not compare times: the engine does.
package command
