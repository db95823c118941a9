package repl

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
)

// maxCompletions is how many candidates a Tab offers.
const maxCompletions = 100

// keywords are those of SQL that a person types; completion and hints use them.
var keywords = strings.Fields(`
	ABORT ADD AFTER ALL ALTER ALWAYS ANALYZE AND AS ASC AUTOINCREMENT BEFORE BEGIN BETWEEN BY CASCADE CASE CAST CHECK
	COLLATE COLUMN COMMIT CONFLICT CONSTRAINT CREATE CROSS CURRENT CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP DEFAULT
	DEFERRABLE DEFERRED DELETE DESC DISTINCT DO DROP EACH ELSE END ESCAPE EXCEPT EXCLUDE EXISTS EXPLAIN FAIL FILTER FIRST
	FOLLOWING FOR FOREIGN FROM FULL GENERATED GLOB GROUP HAVING IF IGNORE IMMEDIATE IN INDEX INDEXED INITIALLY INNER
	INSERT INSTEAD INTERSECT INTO IS ISNULL JOIN KEY LAST LEFT LIKE LIMIT MATCH MATERIALIZED NATURAL NOT NOTHING NOTNULL
	NULL NULLS OF OFFSET ON OR ORDER OTHERS OUTER OVER PARTITION PLAN PRAGMA PRECEDING PRIMARY QUERY RAISE RANGE
	RECURSIVE REFERENCES REGEXP REINDEX RELEASE RENAME REPLACE RESTRICT RETURNING RIGHT ROLLBACK ROW ROWID ROWS SAVEPOINT
	SELECT SET STRICT TABLE THEN TIES TO TRANSACTION TRIGGER UNBOUNDED UNION UNIQUE UPDATE USING VALUES VIEW VIRTUAL
	WHEN WHERE WINDOW WITH WITHOUT`)

// Complete offers what the word before pos, a position in runes, may become: names of tables and columns, keywords in
// the case that the person types, dot commands and their arguments.
func (s *Shell) Complete(line string, pos int) (head string, completions []string, tail string) {
	runes := []rune(line)
	before, tail := string(runes[:pos]), string(runes[pos:])
	if isCommand(before) {
		return s.completeCommand(before, tail)
	}
	from := strings.LastIndexFunc(before, func(r rune) bool { return r < 0x80 && !isWord(byte(r)) && r != '.' }) + 1
	head, word := before[:from], before[from:]
	if word == "" {
		return before, nil, tail
	}
	s.refresh(context.Background(), false)
	if table, column, qualified := strings.Cut(word, "."); qualified {
		for _, name := range s.schema.columns[table] {
			completions = matching(completions, column, name, table+"."+name)
		}
		return head, completions, tail
	}
	return head, s.completeWord(word), tail
}

func (s *Shell) completeWord(word string) (found []string) {
	for _, table := range s.schema.tables() {
		found = matching(found, word, table, table)
	}
	for _, table := range s.schema.tables() {
		for _, column := range s.schema.columns[table] {
			found = matching(found, word, column, column)
		}
	}
	for _, keyword := range keywords {
		shown := strings.ToLower(keyword)
		if word[0] >= 'A' && word[0] <= 'Z' {
			shown = keyword
		}
		found = matching(found, word, keyword, shown)
	}
	return found
}

// matching adds shown to found if name begins with prefix, whatever the case.
func matching(found []string, prefix, name, shown string) []string {
	if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) || len(found) >= maxCompletions ||
		slices.Contains(found, shown) {
		return found
	}
	return append(found, shown)
}

func (s *Shell) completeCommand(before, tail string) (string, []string, string) {
	from := strings.LastIndexByte(before, ' ') + 1
	head, word := before[:from], before[from:]
	var found, known []string
	switch command, _, _ := strings.Cut(strings.TrimSpace(head), " "); command {
	case "":
		for _, c := range s.commands {
			known = append(known, c.Name)
		}
	case ".mode":
		known = Modes
	case ".level":
		known = Levels
	case ".headers", ".timer", ".changes":
		known = []string{"on", "off"}
	case ".tables", ".schema", ".indexes":
		s.refresh(context.Background(), false)
		known = s.schema.tables()
	case ".read", ".output", ".once":
		known = files(word)
	case ".import":
		s.refresh(context.Background(), false)
		known = slices.Concat(importFlags, s.schema.tables(), files(word))
	case ".help":
		for _, c := range s.commands {
			known = append(known, c.Name, c.Name[1:])
		}
	}
	for _, name := range known {
		found = matching(found, word, name, name)
	}
	return head, found, tail
}

// files are the files whose name begins with prefix.
func files(prefix string) []string {
	names, err := filepath.Glob(prefix + "*")
	if err != nil {
		return nil // a prefix that is no pattern begins no name to offer
	}
	return names
}
