package driver

import "strings"

// controlKind is what a text does about a transaction.
type controlKind int

const (
	controlNone controlKind = iota
	controlBegin
	controlCommit
	controlRollback
)

// parseControl knows the statements that begin or end a transaction, each alone in its text
// (sqlite.org/lang_transaction.html):
//
//	BEGIN [DEFERRED | IMMEDIATE | EXCLUSIVE] [TRANSACTION]
//	COMMIT [TRANSACTION], END [TRANSACTION]
//	ROLLBACK [TRANSACTION]
//
// ROLLBACK TO is about a savepoint and none of them.
func parseControl(text string) controlKind {
	word, rest := nextWord(text)
	kind := controlNone
	switch word {
	case "BEGIN":
		kind = controlBegin
		switch word, after := nextWord(rest); word {
		case "DEFERRED", "IMMEDIATE", "EXCLUSIVE":
			rest = after
		}
	case "COMMIT", "END":
		kind = controlCommit
	case "ROLLBACK":
		kind = controlRollback
	default:
		return controlNone
	}
	if word, after := nextWord(rest); word == "TRANSACTION" {
		rest = after
	}
	for {
		switch word, after := nextWord(rest); word {
		case "":
			return kind
		case ";":
			rest = after
		default:
			return controlNone
		}
	}
}

// nextWord returns the first word of text in upper case, or its first other byte, and what follows; blanks and comments
// are passed over. It is empty at the end.
func nextWord(text string) (word, rest string) {
	for text != "" {
		switch {
		case strings.IndexByte(" \t\n\f\r", text[0]) >= 0:
			text = text[1:]
		case strings.HasPrefix(text, "--"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text[2:], "*/")
		default:
			end := 0
			for end < len(text) && wordByte(text[end]) {
				end++
			}
			end = max(end, 1)
			return strings.ToUpper(text[:end]), text[end:]
		}
	}
	return "", ""
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || b >= 0x80 || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}
