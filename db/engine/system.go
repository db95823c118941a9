package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// The cluster's own commands. Each runs inside the savepoint of its entry, like a script: what it returns as an error
// is undone and becomes the result, if it is a refusal, or stops applying, if it is the environment's.

// founderID is the node id of the member that Bootstrap names.
const founderID = 1

// bootstrap makes the cluster: its id, its first member, its settings and a standing token.
func (w *writer) bootstrap(b *commandpb.Bootstrap) error {
	if w.state.cluster != [16]byte{} {
		return ErrBootstrapped
	}
	if err := CheckSettings(b.Settings); err != nil {
		return &refusal{err}
	}
	var cluster [16]byte
	copy(cluster[:], b.Cluster)
	if cluster == [16]byte{} {
		return &refusal{errors.New("the id of a cluster cannot be zero")}
	}
	w.state.cluster = cluster
	if err := w.storeSettings(b.Settings); err != nil {
		return err
	}
	if err := w.insertMember(founderID, b.Member); err != nil {
		return err
	}
	if b.Token != nil {
		return w.mintToken(b.Token)
	}
	return nil
}

// changeSettings changes settings of the cluster. They act once the transaction is committed: some do not act inside of
// one.
func (w *writer) changeSettings(c *commandpb.ChangeSettings) error {
	if w.state.cluster == [16]byte{} {
		return ErrNotBootstrapped
	}
	if err := CheckSettings(c.Settings); err != nil {
		return &refusal{err}
	}
	return w.storeSettings(c.Settings)
}

// storeSettings stores settings that were checked. One that is empty is not stored: it has its default.
func (w *writer) storeSettings(settings map[string]string) error {
	w.state.unsettled = true
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		sql, args := "INSERT OR REPLACE INTO _rsqld_settings VALUES (?, ?)", []any{name, settings[name]}
		if settings[name] == "" {
			sql, args = "DELETE FROM _rsqld_settings WHERE name = ?", args[:1]
		}
		if err := execInternal(w.conn, sql, args...); err != nil {
			return err
		}
	}
	return nil
}

// mintToken makes a token known. The same token again is no error. A standing one replaces the one before.
func (w *writer) mintToken(t *commandpb.MintToken) error {
	known, err := w.token(t.Id)
	if err != nil {
		return err
	}
	if known != nil {
		if !slices.Equal(known.Key[:], t.Key) {
			return ErrTokenExists
		}
		return nil
	}
	if t.Standing {
		if err := execInternal(w.conn, "DELETE FROM _rsqld_tokens WHERE standing"); err != nil {
			return err
		}
	}
	return execInternal(w.conn, "INSERT INTO _rsqld_tokens VALUES (?, ?, ?, ?, 0, ?, ?)",
		t.Id, t.Key, t.Learner, int64(t.Uses), t.Expires, t.Standing)
}

// token reads a token as the entry sees it; nil if it is not known.
func (w *writer) token(id []byte) (*Token, error) {
	var found *Token
	const sql = "SELECT key, learner, uses, used, expires FROM _rsqld_tokens WHERE id = ?"
	err := queryInternal(w.conn, sql, func(stmt *sqlite.Stmt) error {
		found = &Token{Learner: stmt.ColumnInt64(1) != 0, Uses: int(stmt.ColumnInt64(2)),
			Used: int(stmt.ColumnInt64(3)), Expires: stmt.ColumnInt64(4)}
		copy(found.Key[:], stmt.ColumnRaw(0))
		return nil
	}, id)
	return found, err
}

// useToken admits the node with the public key of u and returns its id: the index of the first entry that admitted that
// key. Using the token again with the same key changes nothing but the name and the address, and is not counted.
func (w *writer) useToken(index raft.Index, u *commandpb.UseToken) (raft.ID, error) {
	if len(u.Member.PublicKey) == 0 {
		return 0, ErrMemberKey
	}
	id, removed, err := w.memberByKey(u.Member.PublicKey)
	switch {
	case err != nil:
		return 0, err
	case removed:
		return 0, ErrMemberRemoved
	case id != 0:
		return id, w.updateMember(id, u.Member)
	}
	if err := w.spendToken(u); err != nil {
		return 0, err
	}
	return raft.ID(index), w.insertMember(raft.ID(index), u.Member)
}

// spendToken counts a use of a token, or says why it admits nobody any more.
func (w *writer) spendToken(u *commandpb.UseToken) error {
	token, err := w.token(u.Id)
	switch {
	case err != nil:
		return err
	case token == nil:
		return ErrTokenUnknown
	case token.Expires != 0 && w.state.time >= token.Expires:
		return ErrTokenExpired
	case token.Uses != 0 && token.Used >= token.Uses:
		return ErrTokenUsed
	case token.Learner && !u.Member.Learner:
		return ErrTokenLearner
	}
	return execInternal(w.conn, "UPDATE _rsqld_tokens SET used = used + 1 WHERE id = ?", u.Id)
}

// setMember changes a member's name, address and wish to stay a learner, or forgets it. The key never changes.
func (w *writer) setMember(s *commandpb.SetMember) error {
	id := raft.ID(s.Member.Id)
	if s.Removed {
		return w.changeMember("UPDATE _rsqld_members SET removed = 1 WHERE id = ? AND NOT removed", int64(id))
	}
	return w.updateMember(id, s.Member)
}

// epochRow names the row of _rsqld_settings that holds the epoch. It is there because it goes wherever the settings go, into
// snapshots and through restores; it is none of them, and nobody can set it.
const epochRow = "cluster.epoch"

// recover begins an epoch, whose only member is the survivor. Whatever the survivor was before, it is a member now.
func (w *writer) recover(r *commandpb.Recover) error {
	if w.state.cluster == [16]byte{} {
		return ErrNotBootstrapped
	}
	id := int64(r.Survivor.Id)
	if err := execInternal(w.conn, "UPDATE _rsqld_members SET removed = 1 WHERE id <> ? AND NOT removed", id); err != nil {
		return err
	}
	if err := execInternal(w.conn, "DELETE FROM _rsqld_members WHERE id = ?", id); err != nil {
		return err
	}
	if err := execInternal(w.conn, "INSERT OR REPLACE INTO _rsqld_settings VALUES (?, ?)", epochRow, r.Epoch); err != nil {
		return err
	}
	return w.insertMember(raft.ID(id), r.Survivor)
}

func (w *writer) insertMember(id raft.ID, m *commandpb.Member) error {
	return execInternal(w.conn, "INSERT INTO _rsqld_members VALUES (?, ?, ?, ?, ?, 0)",
		int64(id), m.Name, m.Address, m.Learner, m.PublicKey)
}

func (w *writer) updateMember(id raft.ID, m *commandpb.Member) error {
	return w.changeMember("UPDATE _rsqld_members SET name = ?, address = ?, learner = ? WHERE id = ? AND NOT removed",
		m.Name, m.Address, m.Learner, int64(id))
}

// changeMember runs a change of one member, which must be there.
func (w *writer) changeMember(sql string, args ...any) error {
	if err := execInternal(w.conn, sql, args...); err != nil {
		return err
	}
	if w.conn.Changes() == 0 {
		return fmt.Errorf("changing member %d: %w", args[len(args)-1], ErrMemberUnknown)
	}
	return nil
}

func (w *writer) memberByKey(key []byte) (id raft.ID, removed bool, err error) {
	const sql = "SELECT id, removed FROM _rsqld_members WHERE public_key = ?"
	err = queryInternal(w.conn, sql, func(stmt *sqlite.Stmt) error {
		id, removed = raft.ID(stmt.ColumnInt64(0)), stmt.ColumnInt64(1) != 0
		return nil
	}, key)
	return id, removed, err
}
