package db

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/joinpb"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// readToken returns the join token of the configuration, which is the token itself or @FILE.
func readToken(text string) (identity.Token, error) {
	if text == "" {
		return identity.Token{}, fmt.Errorf("%w: joining needs a token: add --token T or --token @FILE; the first node's data directory has one in join-token", ErrUsage)
	}
	if name, isFile := strings.CutPrefix(text, "@"); isFile {
		content, err := os.ReadFile(name)
		if err != nil {
			return identity.Token{}, fmt.Errorf("%w: reading the join token: %v", ErrUsage, err)
		}
		text = string(content)
	}
	token, err := identity.ParseToken(strings.TrimSpace(text))
	if err != nil {
		return identity.Token{}, fmt.Errorf("%w: %v", ErrUsage, err)
	}
	return token, nil
}

// join makes the directory a new member of the cluster at Config.Join. It tries each address in turn and again while
// the cluster has no leader, until ctx ends.
func (n *Node) join(ctx context.Context, address string) error {
	token, err := readToken(n.config.Token)
	if err != nil {
		return err
	}
	if err := n.dir.begin(); err != nil {
		return err
	}
	request, err := n.joiningKey()
	if err != nil {
		return err
	}
	answer, err := n.askToJoin(ctx, token, request, address)
	if err != nil {
		if strings.Contains(err.Error(), engine.ErrMemberRemoved.Error()) {
			// The node that this key once stood for is gone for good. The next attempt is another node's.
			err = errors.Join(err, os.Remove(n.dir.file(joiningKey)))
		}
		return fmt.Errorf("joining through %s: %w", strings.Join(n.config.Join, ", "), err)
	}
	id, err := request.Complete(answer.Certificate, answer.Ca)
	if err != nil {
		return fmt.Errorf("taking the certificate that the cluster gave: %w", err)
	}
	if err := id.Save(n.dir.file("tls")); err != nil {
		return fmt.Errorf("saving the node's certificate: %w", err)
	}
	n.self = nodeFile{Cluster: hex.EncodeToString(answer.Cluster), Node: raft.ID(answer.Node), Name: n.config.Name,
		Address: address, Learner: n.config.Learner}
	if n.self.Epoch, err = identity.ParseEpoch(answer.Epoch); err != nil {
		return fmt.Errorf("taking the cluster's epoch: %w", err)
	}
	for _, m := range answer.Members {
		n.self.Members = append(n.self.Members, memberFile{raft.ID(m.Id), m.Name, m.Address})
		if m.Id == answer.Node {
			n.self.Name = m.Name
		}
	}
	log, err := wal.Create(n.walOptions([16]byte(answer.Cluster)))
	if err != nil {
		return fmt.Errorf("creating the log: %w", err)
	}
	if err := log.Close(); err != nil {
		return fmt.Errorf("closing the log: %w", err)
	}
	if err := n.dir.commit(n.self); err != nil {
		return err
	}
	return n.dir.forgetJoining()
}

// joiningKey returns the key that this directory joins with: that of an attempt before, which may have been admitted
// without its knowing, or a new one.
func (n *Node) joiningKey() (*identity.Request, error) {
	path := n.dir.file(joiningKey)
	request, err := identity.LoadRequest(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return request, err
	}
	if request, err = identity.NewRequest(); err != nil {
		return nil, fmt.Errorf("making the node's key: %w", err)
	}
	if err := request.Save(path); err != nil {
		return nil, fmt.Errorf("saving the node's key: %w", err)
	}
	return request, nil
}

// askToJoin sends the request to one address after the other. A refusal is final; an answer that asks to come again, or
// none, is not.
func (n *Node) askToJoin(ctx context.Context, token identity.Token, request *identity.Request, address string) (*joinpb.JoinAnswer, error) {
	var failed error
	logged := ""
	for attempt := 0; ; attempt++ {
		target := n.config.Join[attempt%len(n.config.Join)]
		answer, err := n.askOne(ctx, target, token, request, address)
		switch {
		case err != nil:
			failed = err
		case answer.Error == "":
			return answer, nil
		case !answer.Retry:
			return nil, errors.New(answer.Error)
		default:
			failed = errors.New(answer.Error)
		}
		if errors.Is(failed, transport.ErrFingerprint) {
			return nil, failed
		}
		if text := failed.Error(); text != logged && ctx.Err() == nil {
			logged = text
			n.log.Info("joining did not work yet", "through", target, "err", failed)
		}
		select {
		case <-time.After(joinRetry):
		case <-ctx.Done():
			return nil, failed
		}
	}
}

// joinRetry is the pause between two attempts to join.
const joinRetry = 200 * time.Millisecond

func (n *Node) askOne(ctx context.Context, target string, token identity.Token, request *identity.Request, address string) (*joinpb.JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, JoinTimeout)
	defer cancel()
	return transport.Join(ctx, target, token, &joinpb.JoinRequest{
		Version: joinVersion, Csr: request.CSR(), Address: address, Name: n.config.Name, Learner: n.config.Learner,
		Fingerprint: n.fingerprint[:],
	})
}

// joinVersion is the version of the join protocol.
const joinVersion = 1

// serveJoin is the transport's OnJoin. Any node takes a join; the leader decides it, because it has the newest tokens,
// the authority's key, and the log. The proof is bound to the joiner's own TLS connection by exporter.
func (n *Node) serveJoin(ctx context.Context, request *joinpb.JoinRequest, exporter []byte) *joinpb.JoinAnswer {
	select {
	case <-n.opened:
	case <-ctx.Done():
		return &joinpb.JoinAnswer{Error: "this node is starting", Retry: true}
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return &joinpb.JoinAnswer{Error: fmt.Sprintf("encoding the request: %v", err)}
	}
	var answer *joinpb.JoinAnswer
	failed := n.hold(ctx, func(leader raft.ID, term raft.Term) *Error {
		if leader == n.self.Node {
			if failed := n.catchUp(ctx); failed != nil {
				return failed
			}
			var refused *Error
			answer, refused = n.admit(ctx, term, request, exporter)
			return refused
		}
		rows, refused := n.ask(ctx, leader, "admit",
			base64.StdEncoding.EncodeToString(encoded), base64.StdEncoding.EncodeToString(exporter))
		if refused != nil {
			return refused
		}
		answer = new(joinpb.JoinAnswer)
		return readAdmission(leader, rows, answer)
	})
	if failed != nil {
		answer = &joinpb.JoinAnswer{Error: failed.Error(), Retry: joinAgain(failed)}
	}
	if answer.Error != "" && !answer.Retry {
		n.log.Info("refused a join", "node", n.self.Node, "address", wireText(request.Address, maxLogged),
			"name", wireText(request.Name, maxLogged), "err", answer.Error)
	}
	return answer
}

// maxLogged bounds what a joiner says of itself in this node's log, in bytes.
const maxLogged = 128

// readAdmission reads the answer of another member to the verb admit.
func readAdmission(from raft.ID, rows [][]any, answer *joinpb.JoinAnswer) *Error {
	if len(rows) == 1 && len(rows[0]) == 1 {
		if packed, ok := rows[0][0].([]byte); ok && proto.Unmarshal(packed, answer) == nil {
			return nil
		}
	}
	return protocolError("node %d answered a join with something else", from)
}

// joinAgain reports whether a joiner may ask again after a failure: it may whenever the cluster has not refused it, even
// if it may have been admitted. The same key is admitted once.
func joinAgain(failed *Error) bool {
	switch failed.Class {
	case sqlpb.Class_CLASS_DENIED, sqlpb.Class_CLASS_PROTOCOL, sqlpb.Class_CLASS_TOO_LARGE, sqlpb.Class_CLASS_SQL:
		return false
	}
	return true
}

// admit decides a join on the leader: proof, entry, certificate, learner. It may be repeated: UseToken is idempotent by
// the joiner's key.
func (n *Node) admit(ctx context.Context, term raft.Term, request *joinpb.JoinRequest, exporter []byte) (*joinpb.JoinAnswer, *Error) {
	refuse := func(format string, args ...any) (*joinpb.JoinAnswer, *Error) {
		return &joinpb.JoinAnswer{Error: fmt.Sprintf(format, args...)}, nil
	}
	if request.Version > joinVersion {
		return refuse("the joiner speaks version %d of the join protocol and this cluster version %d: join with an older rsqld", request.Version, joinVersion)
	}
	if string(request.Fingerprint) != string(n.fingerprint[:]) {
		return refuse("this cluster computes with another version of rsqld or SQLite than the joiner: join with the version that the cluster runs")
	}
	if err := checkAddress("the joiner's address", request.Address); err != nil {
		return refuse("%v", err)
	}
	var tokenID [8]byte
	copy(tokenID[:], request.TokenId) // of another length: the proof fails
	token, known := n.engine.Token(tokenID)
	if !known || !identity.VerifyProof(token.Key, request, exporter) {
		return refuse("the token is not one of this cluster's, or was used up or replaced: make one with `rsqld token`")
	}
	authority := n.authority.Load()
	if authority == nil {
		return refuse("%v", n.noKey())
	}
	key, err := identity.CSRKey(request.Csr)
	if err != nil {
		return refuse("%v", err)
	}
	result, failed := n.propose(ctx, term, &commandpb.Command{Body: &commandpb.Command_UseToken{UseToken: &commandpb.UseToken{
		Id:     request.TokenId,
		Member: &commandpb.Member{Name: request.Name, Address: request.Address, Learner: request.Learner, PublicKey: key},
	}}})
	if failed != nil {
		return nil, failed
	}
	if result.Err != nil {
		return refuse("%v", result.Err)
	}
	if failed := n.addLearner(ctx, result.Node); failed != nil {
		return nil, failed
	}
	certificate, err := authority.SignNode(request.Csr, result.Node)
	if err != nil {
		return refuse("signing the certificate: %v", err)
	}
	n.log.Info("admitted a node", "peer", result.Node, "address", request.Address, "learner", request.Learner,
		"key", hex.EncodeToString(sha256Sum(key))[:16])
	return &joinpb.JoinAnswer{Node: uint64(result.Node), Cluster: n.cluster[:], Certificate: certificate,
		Ca: n.identity.CA.Raw, Members: n.joinMembers(), Epoch: n.self.Epoch.String()}, nil
}

func sha256Sum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

func (n *Node) joinMembers() (members []*joinpb.Member) {
	for _, m := range n.members() {
		members = append(members, &joinpb.Member{Id: uint64(m.ID), Name: m.Name, Address: m.Address, Learner: m.Learner})
	}
	return members
}
