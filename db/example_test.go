package db_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"

	"github.com/rsqld/rsqld/db"
)

// A program founds a cluster of one inside itself and uses it through database/sql. Other nodes could join it.
func Example() {
	dir, err := os.MkdirTemp("", "rsqld")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	node, err := db.Open(ctx, db.Config{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close(ctx)

	pool := sql.OpenDB(node.Connector())
	defer pool.Close()

	if _, err := pool.ExecContext(ctx, `CREATE TABLE planet(name TEXT, moons INTEGER);
		INSERT INTO planet VALUES('Earth', 1), ('Mars', 2)`); err != nil {
		log.Fatal(err)
	}
	var name string
	if err := pool.QueryRowContext(ctx, "SELECT name FROM planet WHERE moons = ?", 2).Scan(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println(node.Name(), "says", name)
	// Output: n1 says Mars
}
