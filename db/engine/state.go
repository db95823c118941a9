package engine

import (
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// Member is a row of the table of members: a node that a token admitted and that was not removed.
type Member struct {
	ID      raft.ID
	Name    string
	Address string // host:port
	// Learner says that the node wants to stay a learner.
	Learner   bool
	PublicKey []byte // PKIX DER
}

// Token is what is known of a join token: enough to verify a proof of it, not to make one.
type Token struct {
	ID  [8]byte
	Key [32]byte
	// Learner says that the token admits learners only.
	Learner bool
	// Uses is how many nodes it may admit, zero for any number; Used is how many it has admitted.
	Uses, Used int
	// Expires is the entry time in Unix nanoseconds from which it admits nobody, zero for never.
	Expires int64
	// Standing says that it is the one in the founder's directory, which the next standing token replaces.
	Standing bool
}

// state is what the engine knows of the rows that it has committed. It is never changed once it was published, so that
// any goroutine may read it beside Apply; lists and maps are shared between states and replaced, not changed.
type state struct {
	base    raft.Base
	cluster [16]byte
	// time is the newest entry time applied, in Unix nanoseconds. It never falls.
	time  int64
	chain Chain
	// limits are the values of settings.
	limits   settings
	settings map[string]string
	// epoch is the text of the newest Recover applied, or empty.
	epoch   string
	members []Member // sorted by id
	tokens  map[[8]byte]Token
	// unsettled says that the open transaction changed the settings: they act only after it.
	unsettled bool
	// schemaVersion is SQLite's, which every change of the schema moves.
	schemaVersion int64
}

// loadState reads the whole state from the database.
func loadState(conn *sqlite.Conn) (*state, error) {
	s := new(state)
	for _, load := range []func(*sqlite.Conn) error{s.loadMeta, s.loadSchemaVersion, s.loadSettings, s.loadMembers, s.loadTokens} {
		if err := load(conn); err != nil {
			return nil, fmt.Errorf("reading the internal tables: %w", err)
		}
	}
	return s, nil
}

func (s *state) loadMeta(conn *sqlite.Conn) error {
	const sql = `SELECT format, cluster, applied_index, applied_term, entry_time, configuration_index, configuration, chain
		FROM _rsqld_meta`
	rows := 0
	err := queryInternal(conn, sql, func(stmt *sqlite.Stmt) error {
		rows++
		if format := stmt.ColumnInt64(0); format != FormatVersion {
			return fmt.Errorf("the database has format %d and this program reads format %d: start the program that wrote it", format, FormatVersion)
		}
		copy(s.cluster[:], stmt.ColumnRaw(1))
		s.base.Applied = raft.EntryID{Index: raft.Index(stmt.ColumnInt64(2)), Term: raft.Term(stmt.ColumnInt64(3))}
		s.time = stmt.ColumnInt64(4)
		s.chain = Chain{s.base.Applied.Index, uint64(stmt.ColumnInt64(7))}
		s.base.ConfigurationIndex = raft.Index(stmt.ColumnInt64(5))
		if s.base.ConfigurationIndex == 0 {
			return nil
		}
		var err error
		s.base.Configuration, err = raft.DecodeConfiguration(stmt.ColumnBytes(6, nil))
		return err
	})
	if err == nil && rows != 1 {
		return fmt.Errorf("table _rsqld_meta has %d rows instead of 1", rows)
	}
	return err
}

func (s *state) loadSchemaVersion(conn *sqlite.Conn) (err error) {
	s.schemaVersion, err = conn.SchemaVersion()
	return err
}

func (s *state) loadSettings(conn *sqlite.Conn) error {
	stored := make(map[string]string)
	err := queryInternal(conn, "SELECT name, value FROM _rsqld_settings", func(stmt *sqlite.Stmt) error {
		stored[stmt.ColumnText(0)] = stmt.ColumnText(1)
		return nil
	})
	if err != nil {
		return err
	}
	s.epoch = stored[epochRow]
	delete(stored, epochRow)
	s.settings = withDefaults(stored)
	s.limits, err = parseSettings(stored)
	return err
}

func (s *state) loadMembers(conn *sqlite.Conn) error {
	s.members = nil
	const sql = "SELECT id, name, address, learner, public_key FROM _rsqld_members WHERE NOT removed ORDER BY id"
	return queryInternal(conn, sql, func(stmt *sqlite.Stmt) error {
		s.members = append(s.members, Member{
			ID: raft.ID(stmt.ColumnInt64(0)), Name: stmt.ColumnText(1), Address: stmt.ColumnText(2),
			Learner: stmt.ColumnInt64(3) != 0, PublicKey: stmt.ColumnBytes(4, nil),
		})
		return nil
	})
}

func (s *state) loadTokens(conn *sqlite.Conn) error {
	s.tokens = make(map[[8]byte]Token)
	const sql = "SELECT id, key, learner, uses, used, expires, standing FROM _rsqld_tokens"
	return queryInternal(conn, sql, func(stmt *sqlite.Stmt) error {
		t := Token{
			Learner: stmt.ColumnInt64(2) != 0, Uses: int(stmt.ColumnInt64(3)), Used: int(stmt.ColumnInt64(4)),
			Expires: stmt.ColumnInt64(5), Standing: stmt.ColumnInt64(6) != 0,
		}
		copy(t.ID[:], stmt.ColumnRaw(0))
		copy(t.Key[:], stmt.ColumnRaw(1))
		s.tokens[t.ID] = t
		return nil
	})
}

// cloneMembers keeps a caller from changing what others read.
func cloneMembers(members []Member) []Member {
	list := slices.Clone(members)
	for i := range list {
		list[i].PublicKey = slices.Clone(list[i].PublicKey)
	}
	return list
}
