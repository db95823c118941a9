package sqlite

import (
	"strconv"
	"strings"
)

// DefaultCachedStatements is how many idle prepared statements a connection keeps.
const DefaultCachedStatements = 256

// Options say how a connection is opened. The zero value opens an existing database for reading and writing with
// SQLite's own settings, the wall clock and a random seed: no policy is applied that is not written here.
type Options struct {
	ReadOnly bool // SQLITE_OPEN_READONLY; the file must exist
	Create   bool // create the file if it does not exist

	// Clock is the connection's time; nil is the wall clock.
	Clock *Clock

	// Configs, Limits and Pragmas are applied in this order, each list from first to last.
	Configs []ConfigValue
	Limits  []LimitValue
	Pragmas []Pragma

	// CachedStatements is the size of the statement cache; 0 means DefaultCachedStatements.
	CachedStatements int

	// BoundedText replaces SQLite's functions of text whose time is the product of the lengths of their arguments by some
	// with the same results in linear time: instr, replace, trim, ltrim, rtrim, unhex.
	BoundedText bool

	// Pace bounds what a connection writes between two syncs; nil does not.
	Pace *Pace

	// Fault makes file operations fail, in tests; nil is none.
	Fault FaultFunc
}

// Pragma is run when the connection is opened, as PRAGMA Name=Value.
type Pragma struct {
	Name, Value string
	// Creation: it is run only with Options.Create. PRAGMA auto_vacuum writes to the database even if it changes nothing.
	Creation bool
	// Want, unless empty, is what PRAGMA Name must answer afterwards: a pragma that SQLite cannot honour is silent.
	Want string
}

// String is the pragma as SQL.
func (p Pragma) String() string { return "PRAGMA " + p.Name + "=" + p.Value }

// LimitValue is a limit to set when the connection is opened.
type LimitValue struct {
	Limit Limit
	Value int
}

// ConfigValue is a switch to set when the connection is opened.
type ConfigValue struct {
	Config Config
	On     bool
}

// Limit names one of SQLite's run-time limits (https://sqlite.org/c3ref/c_limit_attached.html).
type Limit int

// The limits.
const (
	LimitLength            Limit = 0 // bytes of a row, text or blob
	LimitSQLLength         Limit = 1 // bytes of SQL text
	LimitColumn            Limit = 2
	LimitExprDepth         Limit = 3
	LimitCompoundSelect    Limit = 4
	LimitVdbeOp            Limit = 5
	LimitFunctionArg       Limit = 6
	LimitAttached          Limit = 7
	LimitLikePatternLength Limit = 8
	LimitVariableNumber    Limit = 9
	LimitTriggerDepth      Limit = 10
	LimitWorkerThreads     Limit = 11
)

// Config names one of SQLite's connection switches (https://sqlite.org/c3ref/c_dbconfig_defensive.html).
type Config int

// The switches.
const (
	ConfigForeignKeys         Config = 1002
	ConfigTriggers            Config = 1003
	ConfigLoadExtension       Config = 1005
	ConfigNoCheckpointOnClose Config = 1006
	ConfigDefensive           Config = 1010
	ConfigDQSDML              Config = 1013 // double-quoted strings in queries and DML
	ConfigDQSDDL              Config = 1014 // double-quoted strings in DDL
	ConfigTrustedSchema       Config = 1017
)

// Settings of the option sets below. Each is what the measurements behind the design found best.
const (
	PageSize          = 4096          // bytes, at creation
	WriterCacheBytes  = 64 << 20      // page cache of the writer
	ReaderCacheBytes  = 8 << 20       // page cache of a reader, in front of the memory map
	ReaderMapBytes    = 2147418112    // memory map of a reader: SQLite's maximum, 2 GiB less 64 KiB
	BusyMillis        = 5000          // a connection waits this long for a lock of the WAL, which is held for moments only
	WALSizeLimitBytes = 64 << 20      // size to which a reset WAL file is cut
	maxPatternBytes   = 1000          // of LIKE and GLOB, whose time is the product of text and pattern
	analysisLimit     = 0             // ANALYZE reads whole indexes
	checkpointCache   = 2 << 20       // page cache of a checkpointer or snapshotter
	walMode           = "wal"         // what PRAGMA journal_mode answers
	autoVacuum        = "INCREMENTAL" // at creation
	writerSync        = "NORMAL"      // an exact prefix survives a power cut; see db/engine for the FULL commit
	tempStore         = "MEMORY"      // sub-journals of savepoints stay off the disk
)

// guards are the switches and limits of every connection: no shadow table, no writable schema, no function of the
// schema that is not marked harmless, no attached database.
func guards() ([]ConfigValue, []LimitValue) {
	return []ConfigValue{
			{ConfigDefensive, true},
			{ConfigTrustedSchema, false},
			{ConfigLoadExtension, false},
		}, []LimitValue{
			{LimitAttached, 0},
			{LimitWorkerThreads, 0},
			{LimitLikePatternLength, maxPatternBytes},
		}
}

// WriterOptions are those of the one connection that writes, with the clock that entries set. It creates the database
// if there is none. The caller appends what the cluster decides: foreign_keys, recursive_triggers, limits.
//
// There is no memory map and no automatic checkpoint. There is no other writer either, but a reader that comes upon the
// header of the WAL's index while it is being changed takes the writer's lock to look again (wal.c, walIndexReadHdr).
func WriterOptions(clock *Clock) Options {
	configs, limits := guards()
	return Options{
		Create:      true,
		Clock:       clock,
		BoundedText: true,
		Configs:     configs,
		Limits:      limits,
		Pragmas: []Pragma{
			{Name: "page_size", Value: strconv.Itoa(PageSize), Creation: true},
			{Name: "auto_vacuum", Value: autoVacuum, Creation: true},
			{Name: "journal_mode", Value: walMode, Want: walMode},
			{Name: "synchronous", Value: writerSync, Want: "1"},
			{Name: "temp_store", Value: tempStore, Want: "2"},
			{Name: "cache_size", Value: kibibytes(WriterCacheBytes)},
			{Name: "mmap_size", Value: "0"},
			{Name: "wal_autocheckpoint", Value: "0", Want: "0"},
			{Name: "journal_size_limit", Value: strconv.Itoa(WALSizeLimitBytes)},
			{Name: "secure_delete", Value: "0", Want: "0"},
			{Name: "analysis_limit", Value: strconv.Itoa(analysisLimit)},
			{Name: "busy_timeout", Value: strconv.Itoa(BusyMillis), Want: strconv.Itoa(BusyMillis)},
		},
	}
}

// ReaderOptions are those of a connection that runs reads of clients. The memory map matters: the page cache has one
// mutex for the whole process, and two readers without a map are slower than one. The database must exist.
// The caller adds the authorizer: read-only alone does not stop VACUUM INTO or TEMP tables.
func ReaderOptions() Options {
	configs, limits := guards()
	return Options{
		ReadOnly:    true,
		BoundedText: true,
		Configs:     configs,
		Limits:      limits,
		Pragmas: []Pragma{
			{Name: "query_only", Value: "1", Want: "1"},
			{Name: "temp_store", Value: tempStore, Want: "2"},
			{Name: "mmap_size", Value: strconv.Itoa(ReaderMapBytes)},
			{Name: "cache_size", Value: kibibytes(ReaderCacheBytes)},
			{Name: "busy_timeout", Value: strconv.Itoa(BusyMillis), Want: strconv.Itoa(BusyMillis)},
		},
	}
}

// CheckpointOptions are those of a plain connection beside the writer: the checkpointer's, and the snapshotter's.
func CheckpointOptions() Options {
	configs, limits := guards()
	return Options{
		Configs: configs,
		Limits:  limits,
		Pragmas: []Pragma{
			{Name: "synchronous", Value: writerSync, Want: "1"},
			{Name: "temp_store", Value: tempStore, Want: "2"},
			{Name: "cache_size", Value: kibibytes(checkpointCache)},
			{Name: "mmap_size", Value: "0"},
			{Name: "wal_autocheckpoint", Value: "0", Want: "0"},
			{Name: "journal_size_limit", Value: strconv.Itoa(WALSizeLimitBytes)},
			{Name: "busy_timeout", Value: strconv.Itoa(BusyMillis), Want: strconv.Itoa(BusyMillis)},
		},
	}
}

// kibibytes is a cache size as PRAGMA cache_size takes it: negative, in KiB.
func kibibytes(bytes int) string { return "-" + strconv.Itoa(bytes>>10) }

// sameSetting compares what a pragma answered with what was wanted.
func sameSetting(got, want string) bool { return strings.EqualFold(got, want) }
