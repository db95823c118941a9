package repl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"
)

// visibleObjects leaves out what SQLite and rsqld keep for themselves.
const visibleObjects = `name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE '\_rsqld\_%' ESCAPE '\' AND tbl_name NOT LIKE '\_rsqld\_%' ESCAPE '\'`

// The statements with which the shell reads the schema.
const (
	namesSQL   = `SELECT name FROM sqlite_schema WHERE type IN ('table','view') AND ` + visibleObjects + ` AND (?1 IS NULL OR name LIKE ?1) ORDER BY name`
	indexesSQL = `SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name NOT LIKE '\_rsqld\_%' ESCAPE '\' AND (?1 IS NULL OR tbl_name LIKE ?1) ORDER BY name`
	schemaSQL  = `SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND ` + visibleObjects + ` AND (?1 IS NULL OR tbl_name LIKE ?1 OR name LIKE ?1) ORDER BY rowid`
	columnsSQL = `SELECT m.name, c.name FROM (SELECT name FROM sqlite_schema WHERE type IN ('table','view') AND ` + visibleObjects + `) AS m JOIN pragma_table_info(m.name) AS c ORDER BY m.name, c.cid`
	// functionsSQL names the SQL functions.
	functionsSQL = `SELECT DISTINCT name FROM pragma_function_list ORDER BY name`
)

// schemaPatience bounds a read of the schema that only serves comfort: completion and hints.
const schemaPatience = time.Second

// schema is what completion and hints know of the database. It may be old; nothing is decided by it.
type schema struct {
	stale     bool
	columns   map[string][]string // by table or view
	functions []string
}

// changesSchema reports whether a statement may have changed tables or columns.
func changesSchema(sql string) bool {
	word, _, _ := strings.Cut(strings.ToLower(sql), " ")
	return slices.Contains([]string{"create", "alter", "drop"}, strings.TrimSpace(word))
}

// refresh reads the schema again if it may have changed. A cluster that does not answer leaves what is known, and the
// next call tries again.
func (s *Shell) refresh(ctx context.Context, functions bool) {
	ctx, cancel := context.WithTimeout(ctx, schemaPatience)
	defer cancel()
	if functions && s.schema.functions == nil {
		var names []string
		if err := s.query(ctx, "local", func(row []any) { names = append(names, plainText(row[0], "")) }, functionsSQL); err == nil {
			s.schema.functions = names
		}
	}
	if !s.schema.stale {
		return
	}
	columns := map[string][]string{}
	err := s.query(ctx, "session", func(row []any) {
		table := plainText(row[0], "")
		columns[table] = append(columns[table], plainText(row[1], ""))
	}, columnsSQL)
	if err == nil {
		s.schema.columns, s.schema.stale = columns, false
	}
}

func (c *schema) tables() []string { return slices.Sorted(maps.Keys(c.columns)) }

// nearest is the name in the schema that is most like name, columns with their table; "" if none is.
func (c *schema) nearest(kind, name string) string {
	switch kind {
	case "table":
		return Nearest(name, c.tables())
	case "function":
		return Nearest(name, c.functions)
	}
	var all []string
	owner := map[string]string{}
	for _, table := range c.tables() {
		for _, column := range c.columns[table] {
			if _, known := owner[column]; !known {
				owner[column] = table
				all = append(all, column)
			}
		}
	}
	near := Nearest(name, all)
	if near == "" {
		return ""
	}
	return owner[near] + "." + near
}

func schemaCommands() []Command {
	return []Command{
		{".tables", "[PATTERN]", "list tables and views; PATTERN as for LIKE", 0, 1, dotNames(namesSQL)},
		{".indexes", "[TABLE]", "list indexes; TABLE as for LIKE", 0, 1, dotNames(indexesSQL)},
		{".schema", "[PATTERN]", "show CREATE statements; PATTERN as for LIKE", 0, 1, dotSchema},
	}
}

// pattern is the argument of a statement with ?1.
func pattern(args []string) any {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}

// dotNames prints names side by side, as ls does.
func dotNames(sql string) func(context.Context, *Shell, []string) error {
	return func(ctx context.Context, s *Shell, args []string) error {
		var names []string
		err := s.query(ctx, s.level, func(row []any) { names = append(names, visibleText(row[0], "")) }, sql, pattern(args))
		if err != nil {
			return err
		}
		printColumns(s, names)
		return nil
	}
}

// pageWidth is how wide names are laid out, in columns.
const pageWidth = 80

func printColumns(s *Shell, names []string) {
	widest := 0
	for _, name := range names {
		widest = max(widest, text.StringWidthWithoutEscSequences(name))
	}
	across := max(1, (pageWidth+2)/(widest+2))
	lines := (len(names) + across - 1) / across
	for i := range lines {
		var line strings.Builder
		for j := i; j < len(names); j += lines {
			line.WriteString(text.Pad(names[j], widest+2, ' '))
		}
		fmt.Fprintln(s.Out(), strings.TrimRight(line.String(), " "))
	}
}

func dotSchema(ctx context.Context, s *Shell, args []string) error {
	return s.query(ctx, s.level, func(row []any) {
		fmt.Fprintf(s.Out(), "%s;\n", plainText(row[0], ""))
	}, schemaSQL, pattern(args))
}
