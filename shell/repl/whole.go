package repl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// partialPattern names what is written before it is whole, beside the file that it becomes.
const partialPattern = ".*.partial"

// wholeFile is a file that appears under its name only when it is whole: what is written goes to a partial file beside
// it, which has other readers than its owner only if the directory lets them.
type wholeFile struct {
	*os.File
	path  string
	force bool // takes the place of a file of that name
}

// createWhole begins a file. A file that exists is refused unless force is set. The caller ends with finish or drop.
func createWhole(path string, force bool) (*wholeFile, error) {
	w := &wholeFile{path: path, force: force}
	if err := w.vacant(); err != nil {
		return nil, err
	}
	var err error
	dir, base := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if w.File, err = os.CreateTemp(dir, base+partialPattern); err != nil {
		return nil, fmt.Errorf("creating %s: %w", path, err)
	}
	return w, nil
}

// vacant refuses a name that is taken.
func (w *wholeFile) vacant() error {
	taken, err := os.Lstat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking for %s: %w", w.path, err)
	case taken.IsDir():
		return fmt.Errorf("%s is a directory", w.path)
	case !taken.Mode().IsRegular():
		return fmt.Errorf("%s is no ordinary file; - is stdout", w.path)
	case !w.force:
		return fmt.Errorf("%s exists: --force replaces it, once the new one is whole", w.path)
	}
	return nil
}

// finish makes the file durable and gives it its name.
func (w *wholeFile) finish() error {
	err := errors.Join(w.Sync(), w.Close())
	if err == nil {
		err = w.vacant() // somebody may have made one meanwhile
	}
	if err == nil {
		err = os.Rename(w.Name(), w.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", w.path, err), os.Remove(w.Name()))
	}
	return syncDirectory(filepath.Dir(w.path))
}

// drop removes what was written.
func (w *wholeFile) drop() error { return errors.Join(w.Close(), os.Remove(w.Name())) }

// syncDirectory makes names in a directory durable. On Windows a directory cannot be synced, and renames need not be.
func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
