package raft

// Machine is the state machine that a replica drives. Its calls come from one goroutine, in order.
type Machine interface {
	// Apply executes committed entries in order, all of them or (with an error) a prefix: after an error Base says
	// how far it came, and the replica stops applying. The results, one an entry, are those of the entries applied.
	// An error means that the environment failed (disk, memory), never that a command was wrong: a wrong command
	// has a result that says so, the same on every replica. Entries of every kind arrive here; those that are
	// not commands have a nil result.
	Apply([]Entry) ([]Result, error)
	// Base returns how far the durable state has come and the configuration as of there.
	Base() (Base, error)
}

// Result is what a state machine answers to one command; only the machine and its caller know its type.
type Result any

// Base is the place that a state machine's content stands for. The log may begin after it.
type Base struct {
	Applied EntryID
	// Configuration is the last one applied, with the index of its entry. Zero if none was applied yet.
	ConfigurationIndex Index
	Configuration      Configuration
}

// Transport carries messages to peers. Send never blocks: what cannot be queued is dropped, as a network may.
type Transport interface {
	Send(Message)
}
