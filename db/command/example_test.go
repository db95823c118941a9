package command_test

import (
	"fmt"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
)

// A leader stamps a command and encodes it; every replica decodes the same one.
func Example() {
	data, err := command.Encode(&commandpb.Command{
		Version: command.Version, Time: 1_700_000_000_000_000_000, Seed: 42,
		Body: &commandpb.Command_Script{Script: &commandpb.Script{
			Statements: []*commandpb.Statement{{Sql: "insert into log values (datetime('now'))"}},
		}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := command.Decode(data)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.GetScript().Statements[0].Sql)

	_, err = command.Decode([]byte{8, 9}) // a command of version 9
	fmt.Println(err)
	// Output:
	// insert into log values (datetime('now'))
	// decoding a command: the command has version 9 and this program knows versions up to 1: upgrade this node to the version of the node that leads
}
