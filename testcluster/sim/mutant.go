package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Mutant is a fault that the simulator must find: a bug that a real implementation of Raft had, made again by a small
// edit of this one's source. Mutants are what a quiet simulator is measured by. They live as text beside the tests, and
// are compiled by way of Overlay, so that the product's source knows nothing of them.
//
// A mutant is a file of testdata/mutants, named after the bug:
//
//	bug: what was or would be wrong, and where it was seen
//	caught by: the invariant that should notice
//
//	-- raft/election.go --
//	the text to be replaced: whole lines, found once in the file
//	-- becomes --
//	the text in its place
//
// with as many edits as it takes. A line that begins with # belongs to nothing.
type Mutant struct {
	// Name is the file's, without .txt.
	Name        string
	Bug, Caught string
	Edits       []Edit
}

// Edit replaces a text that occurs once in a file of the module.
type Edit struct {
	// File is a path from the module's root on, with slashes.
	File     string
	Old, New string
}

// ErrMutant is the cause of every failure to read or apply a mutant.
var ErrMutant = errors.New("broken mutant")

// Mutants reads the mutants of a directory, sorted by name.
func Mutants(dir string) ([]Mutant, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []Mutant
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parseMutant(strings.TrimSuffix(filepath.Base(name), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

const becomes = "-- becomes --"

// parseMutant reads the format that Mutant describes.
func parseMutant(name, text string) (Mutant, error) {
	m := Mutant{Name: name}
	var into *string
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		file, isFile := strings.CutPrefix(trimmed, "-- ")
		switch {
		case strings.HasPrefix(line, "#"):
		case trimmed == becomes:
			if len(m.Edits) == 0 || into != &m.Edits[len(m.Edits)-1].Old {
				return m, fmt.Errorf("%w: %s: %q without a text before it", ErrMutant, name, becomes)
			}
			into = &m.Edits[len(m.Edits)-1].New
		case isFile && strings.HasSuffix(file, " --"):
			m.Edits = append(m.Edits, Edit{File: strings.TrimSuffix(file, " --")})
			into = &m.Edits[len(m.Edits)-1].Old
		case into != nil:
			*into += line
		default:
			if err := m.describe(trimmed); err != nil {
				return m, err
			}
		}
	}
	return m, m.check()
}

// describe takes a line of the head.
func (m *Mutant) describe(line string) error {
	what, text, _ := strings.Cut(line, ": ")
	switch what {
	case "":
	case "bug":
		m.Bug = text
	case "caught by":
		m.Caught = text
	default:
		return fmt.Errorf("%w: %s: %q is neither its bug nor what it is caught by", ErrMutant, m.Name, line)
	}
	return nil
}

func (m *Mutant) check() error {
	if m.Bug == "" || m.Caught == "" || len(m.Edits) == 0 {
		return fmt.Errorf("%w: %s: bug, caught by, or the edits are missing", ErrMutant, m.Name)
	}
	for _, e := range m.Edits {
		if e.Old == "" || e.Old == e.New || !strings.HasSuffix(e.Old, "\n") {
			return fmt.Errorf("%w: %s: the edit of %s changes nothing, or is not made of whole lines", ErrMutant, m.Name, e.File)
		}
	}
	return nil
}

// Apply returns the changed files by their names from the module's root on, where root is.
func (m *Mutant) Apply(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range m.Edits {
		text, changed := files[e.File]
		if !changed {
			source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File)))
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrMutant, m.Name, err)
			}
			text = strings.ReplaceAll(string(source), "\r\n", "\n")
		}
		if n := strings.Count("\n"+text, "\n"+e.Old); n != 1 {
			return nil, fmt.Errorf("%w: %s: this is in %s %d times, and must be once:\n%s", ErrMutant, m.Name, e.File, n, e.Old)
		}
		files[e.File] = strings.Replace("\n"+text, "\n"+e.Old, "\n"+e.New, 1)[1:]
	}
	return files, nil
}

// Overlay writes the changed files and the list that the flag -overlay of the go command wants into dir. It returns the
// name of the list.
func (m *Mutant) Overlay(root, dir string) (string, error) {
	files, err := m.Apply(root)
	if err != nil {
		return "", err
	}
	list := struct{ Replace map[string]string }{map[string]string{}}
	for name, text := range files {
		as := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(as, []byte(text), 0o600); err != nil {
			return "", err
		}
		list.Replace[filepath.Join(root, filepath.FromSlash(name))] = as
	}
	encoded, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, encoded, 0o600)
}
