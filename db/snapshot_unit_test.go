package db

import (
	"errors"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/snapshot"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

func sampleManifest() *snapshot.Manifest {
	return &snapshot.Manifest{
		SnapshotMeta: raft.SnapshotMeta{
			Base: raft.Base{Applied: raft.EntryID{Term: 3, Index: 70}, ConfigurationIndex: 9, Configuration: raft.Configuration{
				Voters: []raft.ID{1, 2, 3}, Learners: []raft.ID{7}}},
			Size: snapshot.ChunkSize + 4096,
		},
		Chunks: []snapshot.Hash{{1, 2}, {3, 4}},
	}
}

// A manifest that travelled is the one that was sent.
func TestManifestTravels(t *testing.T) {
	want := sampleManifest()
	encoded, err := encodeManifest(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeManifest(encoded)
	if err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("%v: sent %+v, got %+v", err, want, got)
	}
	encoded.Hashes = encoded.Hashes[1:]
	if _, err := decodeManifest(encoded); !errors.Is(err, snapshot.ErrManifest) {
		t.Errorf("without a byte: %v", err)
	}
}

// FuzzManifest proves: no bytes that a peer sends as a manifest make more than an error, and what is taken contradicts
// itself in nothing.
func FuzzManifest(f *testing.F) {
	encoded, err := encodeManifest(sampleManifest())
	if err != nil {
		f.Fatal(err)
	}
	seed, err := proto.Marshal(encoded)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-5])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		encoded := new(peerpb.SnapshotManifest)
		if proto.Unmarshal(b, encoded) != nil {
			return
		}
		m, err := decodeManifest(encoded)
		if err != nil {
			return
		}
		if err := m.Check(); err != nil {
			t.Errorf("taken although %v", err)
		}
		last := len(m.Chunks) - 1
		if offset, length := m.Extent(last); offset+int64(length) != m.Size || length <= 0 {
			t.Errorf("the last of %d chunks has %d bytes from %d on, of %d", last+1, length, offset, m.Size)
		}
	})
}
