package repl

import "strings"

// Nearest returns the candidate that a person most likely meant by word: the one with the smallest edit distance,
// letter case aside, if that is small for the length of the word; "" if none is near. The first of equals wins.
func Nearest(word string, candidates []string) string {
	word = strings.ToLower(word)
	best, least := "", max(1, (len(word)+1)/3)+1
	for _, candidate := range candidates {
		if d := distance(word, strings.ToLower(candidate), least); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is the number of inserted, deleted, changed and swapped neighbouring bytes between a and b (optimal string
// alignment), or limit if it is that or more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row = above, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return min(row[len(b)], limit)
}
