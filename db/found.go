package db

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/transport/identity"
)

// founder is the id of a cluster's first node. Later nodes get the index of the entry that admitted them, which is
// higher: the founding entries come first.
const founder raft.ID = 1

// found makes the directory the first node of a new cluster: an authority of its own, credentials for the first
// administrator, a standing join token, and a log whose first two entries are the configuration with one voter and the
// bootstrap command. What is in the log is the cluster's; the files are this node's.
func (n *Node) found(address string) error {
	var cluster identity.Cluster
	rand.Read(cluster[:])
	n.self = nodeFile{Cluster: hex.EncodeToString(cluster[:]), Node: founder, Name: n.config.Name, Address: address}
	if n.self.Name == "" {
		n.self.Name = fmt.Sprintf("n%d", founder)
	}
	if err := n.dir.begin(); err != nil {
		return err
	}
	id, err := n.foundIdentity(cluster)
	if err != nil {
		return err
	}
	token := identity.NewToken(id.CA)
	if err := identity.WriteSecret(n.dir.file("join-token"), []byte(token.String()+"\n")); err != nil {
		return fmt.Errorf("writing the join token: %w", err)
	}
	tokenID, tokenKey := token.ID(), token.Key()
	data, err := command.Encode(&commandpb.Command{
		Version: command.Version, Time: n.stamps.next(n.clocks.now().UnixNano(), 0),
		Body: &commandpb.Command_Bootstrap{Bootstrap: &commandpb.Bootstrap{
			Cluster:  cluster[:],
			Member:   &commandpb.Member{Id: uint64(founder), Name: n.self.Name, Address: address, PublicKey: id.PublicKey()},
			Settings: n.config.Settings,
			Token:    &commandpb.MintToken{Id: tokenID[:], Key: tokenKey[:], Standing: true},
		}},
	})
	if err != nil {
		return fmt.Errorf("encoding the bootstrap entry: %w", err)
	}
	if err := n.foundLog(cluster, data); err != nil {
		return err
	}
	return n.dir.commit(n.self)
}

// foundIdentity makes the cluster's authority, the founder's certificate and the first administrator's credential.
func (n *Node) foundIdentity(cluster identity.Cluster) (*identity.Identity, error) {
	authority, err := identity.NewAuthority(cluster)
	if err != nil {
		return nil, fmt.Errorf("making the cluster's authority: %w", err)
	}
	id, err := authority.NewIdentity(founder)
	if err != nil {
		return nil, fmt.Errorf("making the node's certificate: %w", err)
	}
	if err := id.Save(n.dir.file("tls")); err != nil {
		return nil, fmt.Errorf("saving the node's certificate: %w", err)
	}
	if err := authority.SaveKey(n.dir.file("tls")); err != nil {
		return nil, fmt.Errorf("saving the authority's key: %w", err)
	}
	credential, err := authority.NewCredential("admin", identity.RoleAdmin)
	if err != nil {
		return nil, fmt.Errorf("making the administrator's credential: %w", err)
	}
	if err := identity.WriteSecret(n.dir.file("admin.pem"), credential.PEM()); err != nil {
		return nil, fmt.Errorf("writing the administrator's credential: %w", err)
	}
	return id, nil
}

// foundLog writes the two founding entries. A single voter elects itself and commits them at its first start.
func (n *Node) foundLog(cluster identity.Cluster, bootstrap []byte) error {
	log, err := wal.Create(n.walOptions(cluster))
	if err != nil {
		return fmt.Errorf("creating the log: %w", err)
	}
	configuration, err := raft.Configuration{Voters: []raft.ID{founder}}.AppendBinary(nil)
	if err != nil {
		return fmt.Errorf("encoding the first configuration: %w", err)
	}
	err = log.Append(&raft.Write{
		Seq: 1, HardState: raft.HardState{Term: 1},
		Entries: []raft.Entry{
			{ID: raft.EntryID{Term: 1, Index: 1}, Kind: raft.EntryConfiguration, Data: configuration},
			{ID: raft.EntryID{Term: 1, Index: 2}, Kind: raft.EntryCommand, Data: bootstrap},
		},
	})
	if err != nil {
		return fmt.Errorf("writing the first entries: %w", err)
	}
	if err := log.Close(); err != nil {
		return fmt.Errorf("closing the log: %w", err)
	}
	return nil
}
