package dump

import "strings"

// tokens splits SQL text into words, quoted texts with their quotes, and single characters. Blanks and comments are
// left out. open is what the text ends in: "" or the mark of a comment that has not ended.
func tokens(sql string) (list []string, open string) {
	for sql != "" {
		token, rest, comment := next(sql)
		if comment && rest == "" {
			open = unended(token)
		} else if token != "" && !comment {
			list, open = append(list, token), ""
		}
		sql = rest
	}
	return list, open
}

// unended is the mark of a comment at the end of a text, "" if it has ended.
func unended(comment string) string {
	if strings.HasPrefix(comment, "--") && !strings.HasSuffix(comment, "\n") {
		return "--"
	}
	if strings.HasPrefix(comment, "/*") && (len(comment) < 4 || !strings.HasSuffix(comment, "*/")) {
		return "/*"
	}
	return ""
}

// next cuts off one token, comment or blank; a blank has no token.
func next(sql string) (token, rest string, comment bool) {
	cut := func(n int) (string, string) { return sql[:n], sql[n:] }
	through := func(from int, mark string) int {
		if i := strings.Index(sql[from:], mark); i >= 0 {
			return from + i + len(mark)
		}
		return len(sql)
	}
	switch b := sql[0]; {
	case strings.IndexByte(" \t\r\n\f", b) >= 0:
		return "", sql[1:], false
	case strings.HasPrefix(sql, "--"):
		token, rest = cut(through(2, "\n"))
		return token, rest, true
	case strings.HasPrefix(sql, "/*"):
		token, rest = cut(through(2, "*/"))
		return token, rest, true
	case b == '\'' || b == '"' || b == '`':
		end := through(1, string(b))
		for end < len(sql) && sql[end] == b { // a doubled quote is one of the text
			end = through(end+1, string(b))
		}
		token, rest = cut(end)
	case b == '[':
		token, rest = cut(through(1, "]"))
	default:
		n := 0
		for n < len(sql) && isWord(sql[n]) {
			n++
		}
		token, rest = cut(max(n, 1))
	}
	return token, rest, false
}

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '$' || b >= 0x80
}

// Ended is a statement of the schema with its semicolon, also where the text that SQLite has kept ends in a comment.
func Ended(sql string) string {
	switch _, open := tokens(sql); open {
	case "--":
		return sql + "\n;"
	case "/*":
		return sql + "*/;"
	}
	return sql + ";"
}

// IsUnique reports whether a CREATE INDEX makes a unique one.
func IsUnique(sql string) bool {
	list, _ := tokens(sql)
	return len(list) > 1 && strings.EqualFold(list[1], "unique")
}

// module returns the module of a CREATE VIRTUAL TABLE in lower case, and its arguments as tokens.
func module(sql string) (name string, args []string) {
	list, _ := tokens(sql)
	for i, token := range list {
		if strings.EqualFold(token, "using") && i+1 < len(list) {
			return strings.ToLower(unquoted(list[i+1])), list[i+2:]
		}
	}
	return "", nil
}

// unquoted is a name without its quotes.
func unquoted(token string) string {
	if len(token) < 2 || strings.IndexByte("'\"`[", token[0]) < 0 {
		return token
	}
	inside := token[1 : len(token)-1]
	if token[0] == '[' {
		return inside
	}
	quote := token[:1]
	return strings.ReplaceAll(inside, quote+quote, quote)
}

// option returns the value of an option name=value among the arguments of a module.
func option(args []string, name string) (value string, given bool) {
	for i := 0; i+2 < len(args); i++ {
		if (args[i] == "(" || args[i] == ",") && strings.EqualFold(args[i+1], name) && args[i+2] == "=" {
			if i+3 == len(args) || args[i+3] == "," || args[i+3] == ")" {
				return "", true
			}
			return unquoted(args[i+3]), true
		}
	}
	return "", false
}
