package wire_test

import (
	"bufio"
	"bytes"
	"fmt"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A server sends two rows in a frame; the client reads them.
func Example() {
	packed := wire.AppendRow(nil, []any{int64(1), "one"})
	packed = wire.AppendRow(packed, []any{int64(2), nil})
	var stream bytes.Buffer
	err := wire.WriteFrame(&stream, &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{
		Rows: &sqlpb.Rows{Id: 1, Count: 2, Packed: packed}}})
	if err != nil {
		fmt.Println(err)
		return
	}

	var frame sqlpb.ServerFrame
	if err := wire.ReadFrame(bufio.NewReader(&stream), wire.MaxClientFrame, &frame); err != nil {
		fmt.Println(err)
		return
	}
	rows := frame.GetRows()
	decoder := wire.NewRowDecoder(rows.Packed, 2, int(rows.Count))
	for row := make([]any, 2); decoder.Next(row); {
		fmt.Println(row...)
	}
	fmt.Println("error:", decoder.Err())
	// Output:
	// 1 one
	// 2 <nil>
	// error: <nil>
}
