package engine

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Files are equal page by page after random entries, FTS5 and R-tree among them, whatever batches and restarts they came
// in: a replica that lags behind needs only the pages that changed. What deleted rows leave behind would differ, so
// SQLite overwrites it here; and the change counter in the header counts batches.
func TestEqualPages(t *testing.T) {
	w := &workload{Rand: rand.New(rand.NewPCG(11, 0))}
	l := w.log(t, 600)
	var want []byte
	for _, r := range replicas {
		r.overwrite = true
		o := r.run(t, l)
		if o.err != nil {
			t.Fatal(o.err)
		}
		got, err := os.ReadFile(o.file)
		if err != nil {
			t.Fatal(err)
		}
		// Bytes 24 to 27 and 92 to 95 are the change counter, see https://sqlite.org/fileformat2.html#the_database_header.
		clear(got[24:28])
		clear(got[92:96])
		if want == nil {
			want = got
			continue
		}
		if len(got) != len(want) {
			t.Errorf("replica %s has %d pages, want %d", r.name, len(got)/sqlite.PageSize, len(want)/sqlite.PageSize)
			continue
		}
		for page := 0; page < len(want)/sqlite.PageSize; page++ {
			from, to := page*sqlite.PageSize, (page+1)*sqlite.PageSize
			if !bytes.Equal(got[from:to], want[from:to]) {
				t.Errorf("replica %s: page %d differs", r.name, page+1)
			}
		}
	}
}
