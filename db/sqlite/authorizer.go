package sqlite

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Op is what a statement does, as the authorizer and the update hook name it
// (https://sqlite.org/c3ref/c_alter_table.html). The comments name Arg1 and Arg2.
type Op int

// The operations.
const (
	OpCreateIndex       Op = 1  // index, table
	OpCreateTable       Op = 2  // table
	OpCreateTempIndex   Op = 3  // index, table
	OpCreateTempTable   Op = 4  // table
	OpCreateTempTrigger Op = 5  // trigger, table
	OpCreateTempView    Op = 6  // view
	OpCreateTrigger     Op = 7  // trigger, table
	OpCreateView        Op = 8  // view
	OpDelete            Op = 9  // table
	OpDropIndex         Op = 10 // index, table
	OpDropTable         Op = 11 // table
	OpDropTempIndex     Op = 12 // index, table
	OpDropTempTable     Op = 13 // table
	OpDropTempTrigger   Op = 14 // trigger, table
	OpDropTempView      Op = 15 // view
	OpDropTrigger       Op = 16 // trigger, table
	OpDropView          Op = 17 // view
	OpInsert            Op = 18 // table
	OpPragma            Op = 19 // pragma, argument ("" without one)
	OpRead              Op = 20 // table, column
	OpSelect            Op = 21 //
	OpTransaction       Op = 22 // BEGIN, COMMIT or ROLLBACK
	OpUpdate            Op = 23 // table, column
	OpAttach            Op = 24 // file name
	OpDetach            Op = 25 // database
	OpAlterTable        Op = 26 // database, table
	OpReindex           Op = 27 // index
	OpAnalyze           Op = 28 // table
	OpCreateVTable      Op = 29 // table, module
	OpDropVTable        Op = 30 // table, module
	OpFunction          Op = 31 // "", function
	OpSavepoint         Op = 32 // BEGIN, RELEASE or ROLLBACK, savepoint
	OpRecursive         Op = 33 //
)

// Action is one thing that a statement would do.
type Action struct {
	Op         Op
	Arg1, Arg2 string // by Op; "" where SQLite has none
	DB         string // "main" or "temp", "" where it does not apply
	Trigger    string // the innermost trigger or view that does it, "" for the statement itself
	HasArg2    bool   // tells PRAGMA x='' from PRAGMA x
}

// Decision is an authorizer's answer. The zero value allows.
type Decision struct {
	Denied bool
	Reason string // becomes the Message of the Error, whose code is CodeAuth
	// Ignored leaves the action out and goes on: a column reads as NULL or is not updated, ANALYZE passes a table by.
	// Denied outranks it.
	Ignored bool
}

// Allow lets the action pass.
var Allow = Decision{}

// Ignore leaves the action out without an error.
var Ignore = Decision{Ignored: true}

// Deny refuses the action, and with it the statement: Prepare or Step fails with CodeAuth and the reason.
func Deny(reason string) Decision { return Decision{Denied: true, Reason: reason} }

// maxNames bounds the table of interned names; a full one is begun anew.
const maxNames = 4096

// An authorizer stands between SQLite's callback and the caller's function.
type authorizer struct {
	key      string
	decide   func(Action) Decision
	callback func(tls *libc.TLS, arg uintptr, op int32, arg1, arg2, db, trigger uintptr) int32 // nil: not installed
	internal bool                                                                              // the statement being compiled or run is not to be asked about
	denial   Decision                                                                          // the first one since enter
	names    map[string]string                                                                 // every name seen, so that each is copied out of C memory once
}

// SetAuthorizer sets the function that is asked, whenever a statement is compiled, about everything the statement
// would do; nil allows everything. key names the policy (the role) and is part of the key of the statement cache:
// two policies must not share one.
//
// The function is asked when a statement is prepared, and again, by then the newest one, when SQLite must prepare it
// anew because the schema changed; VACUUM asks while it runs. Some PRAGMAs act already when they are prepared: only a
// denial stops them. The function must not use the connection and must not panic.
func (c *Conn) SetAuthorizer(key string, decide func(Action) Decision) {
	c.authorizer.key, c.authorizer.decide = key, decide
	if c.authorizer.callback != nil || decide == nil || c.db == 0 {
		return
	}
	// The callback stays installed for good: SQLite expires every prepared statement when one is set.
	c.authorizer.names = make(map[string]string)
	c.authorizer.callback = func(_ *libc.TLS, _ uintptr, op int32, arg1, arg2, db, trigger uintptr) int32 {
		return c.authorizer.ask(op, arg1, arg2, db, trigger)
	}
	lib.Xsqlite3_set_authorizer(c.tls, c.db, pointer(c.authorizer.callback), 0)
}

// ask is SQLite's callback.
func (a *authorizer) ask(op int32, arg1, arg2, db, trigger uintptr) int32 {
	if a.internal || a.decide == nil {
		return lib.SQLITE_OK
	}
	d := a.decide(Action{
		Op:      Op(op),
		Arg1:    a.name(arg1),
		Arg2:    a.name(arg2),
		DB:      a.name(db),
		Trigger: a.name(trigger),
		HasArg2: arg2 != 0,
	})
	switch {
	case !d.Denied && d.Ignored:
		return lib.SQLITE_IGNORE
	case !d.Denied:
		return lib.SQLITE_OK
	}
	if !a.denial.Denied {
		a.denial = d
	}
	return lib.SQLITE_DENY
}

// name copies a name out of C memory, once per name.
func (a *authorizer) name(p uintptr) string {
	if p == 0 {
		return ""
	}
	b := terminated(p)
	if s, ok := a.names[string(b)]; ok {
		return s
	}
	if len(a.names) >= maxNames {
		clear(a.names)
	}
	s := string(b)
	a.names[s] = s
	return s
}

// enter begins a call of lib that may ask. It returns what leave needs.
func (a *authorizer) enter(internal bool) (was bool) {
	was, a.internal, a.denial = a.internal, internal, Allow
	return was
}

// explain puts the denial into the error of the call that it made fail. SQLite's own code differs with what was
// denied: a function is CodeError.
func (a *authorizer) explain(e *Error) {
	if !a.denial.Denied {
		return
	}
	e.Code, e.Extended = CodeAuth, CodeAuth
	if a.denial.Reason != "" {
		e.Message = a.denial.Reason
	}
}

// leave ends the call, after its error was made.
func (a *authorizer) leave(was bool) { a.internal, a.denial = was, Allow }
