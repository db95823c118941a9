package replica_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rsqld/rsqld/raft"
)

// machine is a state machine that keeps every command. Its content outlives the replica, as a database file does.
type machine struct {
	mu       sync.Mutex
	base     raft.Base
	commands []string
	// failing, if not nil, is what Apply answers.
	failing error
	// attempts counts the calls that failed.
	attempts int
	// gate, if not nil, holds up Apply until it is closed.
	gate chan struct{}
	// largest is the longest batch that came.
	largest int
}

// receipt is the result of a command.
type receipt struct {
	place   int
	command string
}

func (m *machine) Base() (raft.Base, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failing != nil {
		m.attempts++
	}
	return m.base, m.failing
}

func (m *machine) Apply(entries []raft.Entry) ([]raft.Result, error) {
	m.mu.Lock()
	gate := m.gate
	m.mu.Unlock()
	if gate != nil {
		<-gate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.largest = max(m.largest, len(entries))
	var results []raft.Result
	for _, e := range entries {
		if m.failing != nil {
			return results, m.failing
		}
		if e.ID.Index != m.base.Applied.Index+1 {
			return results, fmt.Errorf("entry %v applied after %v", e.ID, m.base.Applied)
		}
		result, err := m.one(e)
		if err != nil {
			return results, err
		}
		m.base.Applied = e.ID
		results = append(results, result)
	}
	return results, nil
}

func (m *machine) one(e raft.Entry) (raft.Result, error) {
	switch e.Kind {
	case raft.EntryCommand:
		m.commands = append(m.commands, string(e.Data))
		return receipt{len(m.commands), string(e.Data)}, nil
	case raft.EntryConfiguration:
		configuration, err := raft.DecodeConfiguration(e.Data)
		m.base.Configuration, m.base.ConfigurationIndex = configuration, e.ID.Index
		return nil, err
	}
	return nil, nil
}

func (m *machine) content() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.commands)
}

var errDiskFull = errors.New("disk is full")

func (m *machine) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

// block holds up Apply until the function that it returns is called.
func (m *machine) block() (open func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gate = make(chan struct{})
	return m.unblock
}

// unblock lets Apply go on, if it was held up.
func (m *machine) unblock() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gate != nil {
		close(m.gate)
		m.gate = nil
	}
}

// forget makes the machine as new, as after the loss of its file.
func (m *machine) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.base, m.commands = raft.Base{}, nil
}
