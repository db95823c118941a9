// Package db is the replicated database: a Node is an engine (deterministic SQL), a replica (the log and the agreement
// on it) and a transport (peers, sessions, joins) under one roof.
//
// # Model
//
// A write travels: session → classify → (on a follower: relay to the leader's session) → one log entry → committed by
// a majority → applied by every replica → answered. A read runs where the client is, at the level the client chose:
//
//	local         what this node has applied
//	session       at least what the session has seen (Execute.min_index)
//	linearizable  at least what was committed when the read began; executed here
//	strong        the same, executed by the leader
//
// # Contract
//
// An answer to a write says one of three things: it is done (committed by a majority and applied), it is certainly not
// done (an error with retry "same", a deterministic SQL error, or one that says so), or its outcome is unknown. Retry "same"
// means that nothing of the whole request was executed, or (with an unknown outcome) that the same request under the same
// session and number happens once; of a request that fails in its middle the results before the error were sent, and the
// error says that it must not be sent again. A node sends a numbered write of one entry again by itself while it looks for a
// leader; the engine sees to it that it happens once.
//
// A session runs one request at a time, and answers Cancel and Ping meanwhile. What a client does wrong ends its own
// session with an error that says what, and disturbs no other. A client that does not take its rows stops its read, for
// 30 seconds at most; then its session is cut off.
//
// A node that closes answers what runs, and tells every session that nothing that it sends from then on is executed.
//
// A node that knows no leader holds writes until 500 ms (Config.NoLeaderWait) after the last contact with a quorum and
// then refuses them with class no_quorum; reads at level local go on.
//
// Times of entries never fall, whoever leads. A node whose clock is more than 5 s (Config.MaxClockAhead) ahead of the
// voters' median gives out none and does not lead.
//
// Membership is two things that move together: the voters and learners (a raft.Configuration in the log) and the table
// of members (names, addresses, keys: replicated rows). A node joins as a learner with a token; the leader promotes it
// when it has caught up, unless it asked to stay a learner, or there are as many voters as the cluster wants. A node that comes back at another address tells the cluster.
// While it knows no leader it looks for members at Config.Join too, and members that have found each other tell where the
// others are: all may have moved.
//
// A cluster that has lost its majority for good is recovered from one data directory (Survey, Recover). It is in another
// epoch then, which node.json, the database and each hello of a peer name: members of the epoch before are refused.
//
// # Transactions
//
// A transaction that writes runs on the leader, whichever node its session is at. It passes a gate alone, before which
// other writes wait in line, and its statements run one by one in the engine, which writes them down. Commit undoes them
// there and proposes what was written down as one entry, bound to the term in which they ran: every replica executes it,
// the leader too, and holds each statement against what its client was told. Whatever ends the leadership ends the
// transaction, of which nothing was in the log. One that only reads is a pinned snapshot of the node at hand.
//
// # In a program
//
// A program that opens a Node has sessions with it without a network: Node.Connector, for database/sql and for the interface
// of package driver. They are served as those of QUIC are; frames go through memory as they are.
//
// # What it does not do
//
// Two transactions that write never run side by side: one waits for the other, and every plain write does. Of two voters nobody
// can say whose clock is wrong: there entry times follow a leader whose clock is ahead.
package db
