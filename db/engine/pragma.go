package engine

import (
	"fmt"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// pragmaUse is what a PRAGMA does in the form that it was written in.
type pragmaUse uint8

const (
	// pragmaNone: the statement is no PRAGMA.
	pragmaNone pragmaUse = iota
	// pragmaReads: it changes nothing, or sets what is set already.
	pragmaReads
	// pragmaWrites: it changes the database and is replicated.
	pragmaWrites
)

// pragmas are those that may be used. A PRAGMA that is not here is refused; so is an argument where none is listed.
// plain is the use without an argument and argument the one with; pragmaNone refuses it.
var pragmas = map[string]struct{ plain, argument pragmaUse }{
	// Reads, whose argument names what is asked for.
	"table_info": {pragmaReads, pragmaReads}, "table_xinfo": {pragmaReads, pragmaReads}, "table_list": {pragmaReads, pragmaReads},
	"index_list": {pragmaReads, pragmaReads}, "index_info": {pragmaReads, pragmaReads}, "index_xinfo": {pragmaReads, pragmaReads},
	"foreign_key_list": {pragmaReads, pragmaReads}, "foreign_key_check": {pragmaReads, pragmaReads},
	"integrity_check": {pragmaReads, pragmaReads}, "quick_check": {pragmaReads, pragmaReads},
	// Reads, whose argument would set something.
	"database_list": {plain: pragmaReads}, "collation_list": {plain: pragmaReads}, "function_list": {plain: pragmaReads},
	"module_list": {plain: pragmaReads}, "pragma_list": {plain: pragmaReads}, "compile_options": {plain: pragmaReads},
	"page_count": {plain: pragmaReads}, "page_size": {plain: pragmaReads}, "freelist_count": {plain: pragmaReads},
	"data_version": {plain: pragmaReads}, "schema_version": {plain: pragmaReads}, "encoding": {plain: pragmaReads},
	"auto_vacuum": {plain: pragmaReads}, "journal_mode": {plain: pragmaReads}, "synchronous": {plain: pragmaReads},
	"recursive_triggers": {plain: pragmaReads}, "busy_timeout": {plain: pragmaReads}, "query_only": {plain: pragmaReads},
	// Replicated.
	"user_version": {pragmaReads, pragmaWrites}, "application_id": {pragmaReads, pragmaWrites},
	"incremental_vacuum": {pragmaWrites, pragmaWrites},
	// Looked at more closely below.
	"foreign_keys": {pragmaReads, pragmaReads}, "defer_foreign_keys": {pragmaReads, pragmaWrites},
}

// judgePragma refuses a PRAGMA that is not listed, and two arguments of those that are.
func (f *facts) judgePragma(s settings, a sqlite.Action) *PolicyError {
	name := strings.ToLower(a.Arg1)
	listed := pragmas[name]
	use := listed.plain
	if a.HasArg2 {
		use = listed.argument
	}
	if use == pragmaNone {
		return refusePragma(name, a.Arg2, listed.plain != pragmaNone)
	}
	if isInternal(a.Arg2) {
		return &PolicyError{"pragma " + name + " on " + a.Arg2, "names that begin with " + internalPrefix + " belong to rsqld itself"}
	}
	switch on, isSwitch := pragmaSwitch(a.Arg2); {
	case name == "foreign_keys" && a.HasArg2 && (!isSwitch || on != s.foreignKeys):
		return &PolicyError{"pragma foreign_keys=" + a.Arg2, fmt.Sprintf("foreign keys are %s for the whole cluster (setting %s, which `rsqld set` changes)", switchWord(s.foreignKeys), SettingForeignKeys)}
	case name == "defer_foreign_keys" && a.HasArg2:
		if !isSwitch || !on {
			return &PolicyError{"pragma defer_foreign_keys=" + a.Arg2, "it would let violated foreign keys be committed; it ends by itself with the request"}
		}
		f.deferred = true
	}
	f.pragma = max(f.pragma, use)
	return nil
}

func refusePragma(name, argument string, readable bool) *PolicyError {
	if readable {
		return &PolicyError{fmt.Sprintf("pragma %s=%s", name, argument), fmt.Sprintf("rsqld sets %s itself, alike on every node; leave the statement out, or read the value with `pragma %s`", name, name)}
	}
	return &PolicyError{"pragma " + name, "it would act on one connection of one node; what a cluster needs is set by rsqld itself, so leave the statement out"}
}

// pragmaSwitch reads an argument as SQLite reads a boolean of a PRAGMA (sqlite.org/pragma.html).
func pragmaSwitch(argument string) (on, isSwitch bool) {
	switch strings.ToLower(argument) {
	case "1", "on", "yes", "true":
		return true, true
	case "0", "off", "no", "false":
		return false, true
	}
	return false, false
}

func switchWord(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
