package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/rsqld/rsqld/raft/wal"
)

// What a simulated disk answers besides io.EOF, fs.ErrNotExist and fs.ErrClosed.
var (
	// ErrCrashed is the answer to a process that is dead: to every operation from its crash point on, and to every use
	// of a file or mount that is older than the newest Crash, Kill or Replace.
	ErrCrashed = errors.New("the simulated process is dead")
	// ErrIO is a failed read, write or sync. It is syscall.EIO.
	ErrIO = fmt.Errorf("simulated disk: %w", syscall.EIO)
	// ErrNoSpace is a write beyond the disk's capacity. It is syscall.ENOSPC.
	ErrNoSpace = fmt.Errorf("simulated disk: %w", syscall.ENOSPC)
)

// sector is what the disk writes in one piece, in bytes: after a crash it is as before a write or as after.
const sector = 512

// Disk is the disk of one node. All its chance comes from its own generator: the same calls have the same outcome. One
// goroutine at a time uses it and what it has handed out.
//
// # What survives
//
// A file has the content that processes see, and on the platter possibly another: a write reaches the platter by a Sync
// of its file, a name by a SyncDir of its directory. Crash, a loss of power, decides what becomes of the rest, as freely
// as the interface of an operating system allows it to and no more:
//
//   - Each sector of each write that was not synced is there or is not, whatever its order in time. A sector is never
//     torn inside: what shares it with an interrupted write is safe. With Faults.Flip, single bits that the write was
//     changing are wrong.
//   - A size that was not synced is any of those that the file has had since its last sync. What grew and was not
//     written reads as zeros.
//   - Each creation, rename and removal that was not synced has happened or has not, whatever their order: an ext4 would
//     keep a prefix of them, other file systems keep any. A rename is one step, and a file never has two names.
//   - A directory whose own name is lost takes all that is in it along.
//
// Kill, the death of a process alone, loses nothing but what a failed Sync has dropped.
//
// # Errors and damage
//
// Errors of single operations come out of Faults. They lose nothing that was acknowledged, so they need no bounds. Damage
// to what is on the platter is made by Damage, at places that Settled offers; whoever calls it asks an Atlas first.
type Disk struct {
	chance *rand.Rand
	root   *inode
	// life is the number of the process that may use the disk. Mounts and files of another one are dead.
	life uint64
	// crashes counts resolutions of names, to visit each file once.
	crashes uint64

	// operations counts everything that changes something, since the beginning.
	operations uint64
	// deadline is the operation that the process dies at; zero: none. within says that the operation begins.
	deadline uint64
	within   bool
	dead     bool

	// unsynced counts files and directories with changes that are not durable.
	unsynced int
	// used is the sum of the sizes of all files, capacity its limit in bytes; zero: no limit.
	used, capacity int

	faults  Faults
	latency latency
	// recent are the newest writes that are durable, a ring whose next slot is at.
	recent [recentWrites]durableWrite
	at     int
}

// Faults are the probabilities of errors, per operation.
type Faults struct {
	// Read, Write and Sync fail with ErrIO. A write that fails has written a part, not durably. A Sync that fails has
	// written any part; what it has not is, in Drop of the cases, forgotten: it can be read until the next crash, and no
	// later Sync writes it, though it succeeds (Linux, "fsyncgate"). Otherwise the next Sync writes it.
	Read, Write, Sync, Drop float64
	// Flip is the probability that a crash leaves a wrong bit in a sector that was being written, per sector.
	Flip float64
}

// NewDisk returns an empty disk. It is the same for the same seed.
func NewDisk(seed uint64) *Disk {
	d := &Disk{chance: rand.New(rand.NewPCG(seed, 0xd15c)), life: 1, latency: defaultLatency}
	d.root = &inode{dir: newDirectory()}
	return d
}

// Mount returns the disk as the process that starts now sees it. Names are absolute paths.
func (d *Disk) Mount() wal.Files { return &mount{d, d.life} }

// SetFaults sets the probabilities of errors from now on.
func (d *Disk) SetFaults(f Faults) { d.faults = f }

// SetCapacity bounds the sum of all files' sizes, in bytes; zero: no bound. What is there stays.
func (d *Disk) SetCapacity(bytes int) { d.capacity = bytes }

// Used returns the sum of all files' sizes in bytes.
func (d *Disk) Used() int { return d.used }

// Operations returns how many operations have changed something so far: creations, writes, truncations, syncs, renames,
// removals and syncs of directories.
func (d *Disk) Operations() uint64 { return d.operations }

// Pending reports whether anything is not durable. A crash is of interest then most of all.
func (d *Disk) Pending() bool { return d.unsynced > 0 }

// DieAfter lets n more operations pass. The process dies at the one after them: before it, or within it, which leaves it
// done in part and not durable. Whoever runs the process sees ErrCrashed, or asks Dead, and calls Crash or Kill.
func (d *Disk) DieAfter(n int, within bool) {
	d.deadline, d.within = d.operations+uint64(n)+1, within
}

// Dead reports whether the process has met its crash point.
func (d *Disk) Dead() bool { return d.dead }

// begin counts an operation. It returns ErrCrashed from the crash point on; within says that the process dies when this
// very operation is under way: the caller does what it does in part, and returns ErrCrashed.
func (d *Disk) begin() (within bool, err error) {
	if d.dead {
		return false, ErrCrashed
	}
	d.operations++
	if d.operations != d.deadline {
		return false, nil
	}
	d.dead = true
	if d.within {
		return true, nil
	}
	return false, ErrCrashed
}

// happens draws an event of probability p. Nothing is drawn for what cannot happen.
func (d *Disk) happens(p float64) bool { return p > 0 && d.chance.Float64() < p }

// bury ends the life of the process and forgets its crash point.
func (d *Disk) bury() {
	d.life++
	d.deadline, d.dead = 0, false
}

// latency says how long operations take.
type latency struct {
	// mean of reads and writes, and of syncs. Each is drawn from an exponential distribution.
	transfer, sync time.Duration
	// stalled is the virtual time before which nothing completes.
	stalled time.Duration
}

var defaultLatency = latency{transfer: 20 * time.Microsecond, sync: 150 * time.Microsecond}

// SetLatency sets the means of what a read or write takes, and a sync.
func (d *Disk) SetLatency(transfer, sync time.Duration) {
	d.latency.transfer, d.latency.sync = transfer, sync
}

// Stall lets nothing complete before a moment of virtual time.
func (d *Disk) Stall(until time.Duration) { d.latency.stalled = max(d.latency.stalled, until) }

// DiskOperation says what an operation is about, for Latency.
type DiskOperation uint8

const (
	DiskTransfer DiskOperation = iota // a read, or a write that is not synced
	DiskSync                          // a write and its sync
)

// Latency draws how long an operation takes that begins now. The operation itself has no duration: the simulator calls it
// when it completes, so that a crash before that finds nothing of it, and one in its middle is a crash point.
func (d *Disk) Latency(kind DiskOperation, now time.Duration) time.Duration {
	mean := d.latency.transfer
	if kind == DiskSync {
		mean = d.latency.sync
	}
	took := time.Duration(float64(mean) * d.chance.ExpFloat64())
	return max(took, time.Microsecond, d.latency.stalled-now)
}
