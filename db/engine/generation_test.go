package engine

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft/wal"
)

// journal is a disk that notes in what order names are changed and what is synced.
type journal struct {
	wal.Files
	events []string
}

type journalFile struct {
	wal.File
	synced func()
}

func (j *journal) note(what, path string) {
	j.events = append(j.events, what+" "+filepath.Base(path))
}

func (j *journal) Open(name string, flag int) (wal.File, error) {
	file, err := j.Files.Open(name, flag)
	return journalFile{file, func() { j.note("sync", name) }}, err
}

func (f journalFile) Sync() error {
	f.synced()
	return f.File.Sync()
}

func (j *journal) Rename(old, new string) error {
	j.note("rename", new)
	return j.Files.Rename(old, new)
}

func (j *journal) SyncDir(dir string) error {
	j.note("sync", dir)
	return j.Files.SyncDir(dir)
}

// The pointer names a generation only once the file, its name, and the name of its directory are durable, and the pointer's
// own content; and it is durable itself when commit returns, since the log is cut then. A disk may make a rename durable by
// itself at any time, and nothing else.
func TestGenerationIsDurableBeforeItIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "db")
	g := generation{dir, 7}
	mustWrite(t, g.file(), []byte("content"))
	disk := &journal{Files: wal.OS()}
	if err := g.commit(disk); err != nil {
		t.Fatal(err)
	}
	named := slices.Index(disk.events, "rename "+currentName)
	if named < 0 {
		t.Fatalf("nothing names it: %v", disk.events)
	}
	before, after := disk.events[:named], disk.events[named:]
	for _, event := range []string{"sync " + fileName, "sync 7", "sync db", "sync " + currentName + ".new"} {
		if !slices.Contains(before, event) {
			t.Errorf("no %q before the pointer names it: %v", event, disk.events)
		}
	}
	if !slices.Contains(after, "sync db") {
		t.Errorf("the pointer is not durable: %v", disk.events)
	}
	if found, isNew, err := findGeneration(dir); err != nil || isNew || found.number != 7 {
		t.Errorf("found %v, new: %v, %v", found, isNew, err)
	}
}
