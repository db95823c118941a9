package db

import (
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A request's statements and a log entry's are messages of two protocols, which change for different reasons: the
// first with clients, the second never, because logs are kept. Values are shared, not copied.

// wireScript makes the script of an entry from the statements of a request.
func wireScript(statements []*sqlpb.Statement) *commandpb.Script {
	script := &commandpb.Script{Statements: make([]*commandpb.Statement, len(statements))}
	for i, s := range statements {
		script.Statements[i] = &commandpb.Statement{Sql: s.Sql, Args: arguments(s.Args)}
	}
	return script
}

func arguments(args []*sqlpb.Argument) []*commandpb.Argument {
	if len(args) == 0 {
		return nil
	}
	converted := make([]*commandpb.Argument, len(args))
	for i, a := range args {
		converted[i] = &commandpb.Argument{Name: a.Name, Value: value(a.Value)}
	}
	return converted
}

func value(v *sqlpb.Value) *commandpb.Value {
	switch kind := v.GetKind().(type) {
	case *sqlpb.Value_Integer:
		return &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: kind.Integer}}
	case *sqlpb.Value_Real:
		return &commandpb.Value{Kind: &commandpb.Value_Real{Real: kind.Real}}
	case *sqlpb.Value_Text:
		return &commandpb.Value{Kind: &commandpb.Value_Text{Text: kind.Text}}
	case *sqlpb.Value_Blob:
		return &commandpb.Value{Kind: &commandpb.Value_Blob{Blob: kind.Blob}}
	}
	return &commandpb.Value{} // NULL
}
