package engine

import (
	"fmt"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/transport/wire"
)

// appendRow packs the row that stmt stands on.
func appendRow(dst []byte, stmt *sqlite.Stmt, columns int) []byte {
	for i := range columns {
		switch stmt.ColumnType(i) {
		case sqlite.Integer:
			dst = wire.AppendInteger(dst, stmt.ColumnInt64(i))
		case sqlite.Float:
			dst = wire.AppendReal(dst, stmt.ColumnFloat64(i))
		case sqlite.Text:
			dst = wire.AppendText(dst, stmt.ColumnRaw(i))
		case sqlite.Blob:
			dst = wire.AppendBlob(dst, stmt.ColumnRaw(i))
		default:
			dst = wire.AppendNull(dst)
		}
	}
	return dst
}

// bind binds the arguments that a statement takes.
func bind(stmt *sqlite.Stmt, args *arguments) error {
	bindOne := func(number int, v *commandpb.Value) error {
		if err := bindValue(stmt, number, v); err != nil {
			return fmt.Errorf("binding argument %d: %w", number, err)
		}
		return nil
	}
	count := stmt.ParamCount()
	if args.named != nil || count > len(args.positional) {
		return args.take(parameters(stmt), bindOne)
	}
	// Without names take would do the same, and list the parameters for it.
	for i := range count {
		if err := bindOne(i+1, args.positional[i].GetValue()); err != nil {
			return err
		}
	}
	args.positional = args.positional[count:]
	return nil
}

func bindValue(stmt *sqlite.Stmt, number int, v *commandpb.Value) error {
	switch kind := v.GetKind().(type) {
	case *commandpb.Value_Integer:
		return stmt.BindInt64(number, kind.Integer)
	case *commandpb.Value_Real:
		return stmt.BindFloat64(number, kind.Real)
	case *commandpb.Value_Text:
		return stmt.BindTextBytes(number, kind.Text)
	case *commandpb.Value_Blob:
		return stmt.BindBlob(number, kind.Blob)
	}
	return stmt.BindNull(number)
}
