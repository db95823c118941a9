package identity

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// WriteSecret makes content durable at path, readable to its owner alone (0600; on Windows by the directory's access
// list). Whoever reads path, also after a crash, finds either what was there before or all of content.
func WriteSecret(path string, content []byte) error { return write(path, content, 0o600) }

func writePublic(path string, content []byte) error { return write(path, content, 0o644) }

// write writes beside path, makes that durable, and renames it.
func write(path string, content []byte, mode os.FileMode) (err error) {
	dir := filepath.Dir(path)
	// CreateTemp makes the file 0600, so that a secret is never readable to others, not even for a moment.
	file, err := os.CreateTemp(dir, filepath.Base(path)+".*.new")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Chmod(mode)
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	if synced := syncDirectory(dir); synced != nil {
		return fmt.Errorf("writing %s: %w", path, synced)
	}
	return nil
}

// makeDirectory makes dir, for its owner alone, and makes its entry durable.
func makeDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	if err := syncDirectory(filepath.Dir(dir)); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	return nil
}
