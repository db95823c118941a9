package driver_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// A program uses a cluster through database/sql.
func Example() {
	db, err := sql.Open("rsqld", "rsqld://10.0.0.1,10.0.0.2,10.0.0.3/?cred=app.pem")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()

	_, err = db.ExecContext(ctx, `insert into users(name, joined) values(?, ?)`, "ann", time.Now())
	switch {
	case errors.Is(err, driver.ErrUnique):
		fmt.Println("there is an ann already")
	case errors.Is(err, driver.ErrOutcomeUnknown):
		fmt.Println("look whether ann is there before trying again:", err)
	case err != nil:
		log.Fatal(err)
	}

	var joined time.Time
	if err := db.QueryRowContext(ctx, `select joined from users where name = ?`, "ann").Scan(&joined); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ann joined at", joined)
}

// The typed interface streams rows as SQLite has them and tells about the cluster.
func ExampleConnector_Open() {
	connector, err := driver.NewConnector(driver.Config{
		Addresses: []string{"10.0.0.1:4001"}, Credential: "rsqld-data/admin.pem", Level: driver.LevelLinearizable})
	if err != nil {
		log.Fatal(err)
	}
	defer connector.Close()
	conn, err := connector.Open(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	results, err := conn.Execute(context.Background(), driver.Request{SQL: "select id, name from users; select count(*) from users"})
	if err != nil {
		log.Fatal(err)
	}
	for results.NextResult() {
		for results.Next() {
			fmt.Println(results.Row()...)
		}
	}
	if err := errors.Join(results.Err(), results.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("answered by node %d, %s\n", conn.Node(), conn.NodeName())
}

// A data source name can be read without connecting.
func ExampleParseDSN() {
	config, err := driver.ParseDSN("rsqld://n1,n2:4002/?level=strong&cred=app.pem")
	fmt.Println(config.Addresses, config.Level, config.Credential, err)
	_, err = driver.ParseDSN("rsqld://n1/?lvel=strong")
	fmt.Println(err)
	// Output:
	// [n1:4001 n2:4002] strong app.pem <nil>
	// configuration: data source name: unknown key "lvel": did you mean level? There are busy_timeout, commit_timeout, cred, level, max_staleness, spread, target
}
