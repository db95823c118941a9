package sqlite_test

import (
	"fmt"
	"log"
	"time"

	"github.com/rsqld/rsqld/db/sqlite"
)

// A writer whose time and chance are set before each entry, so that every replica computes the same.
func Example() {
	if err := sqlite.SelfTest(); err != nil {
		log.Fatal(err)
	}
	clock := sqlite.NewClock()
	c, err := sqlite.Open(":memory:", sqlite.Options{Create: true, Clock: clock})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	clock.SetUnixNano(time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC).UnixNano())
	c.SeedRandom(7)
	c.ResetState()
	if err := c.Exec("CREATE TABLE notes(text, at DEFAULT CURRENT_TIMESTAMP, draw DEFAULT (abs(random()) % 6 + 1))"); err != nil {
		log.Fatal(err)
	}

	insert, _, err := c.Cached("INSERT INTO notes(text) VALUES (:text) RETURNING text, at, draw")
	if err != nil {
		log.Fatal(err)
	}
	defer insert.Release()
	if err := insert.BindText(insert.ParamIndex(":text"), "leap day"); err != nil {
		log.Fatal(err)
	}
	for {
		row, err := insert.Step()
		if err != nil {
			log.Fatal(err)
		}
		if !row {
			break
		}
		fmt.Println(insert.ColumnText(0), "|", insert.ColumnText(1), "|", insert.ColumnInt64(2))
	}
	fmt.Println(c.LastInsertRowID(), c.Changes())
	// Output:
	// leap day | 2024-02-29 12:00:00 | 4
	// 1 1
}
