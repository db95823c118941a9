package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// choice is the value of a flag that takes one of a few words.
type choice struct {
	value *string
	words []string
}

// choose adds a flag that takes one of words.
func choose(flags *pflag.FlagSet, name, value, usage string, words []string) *string {
	chosen := value
	flags.Var(&choice{&chosen, words}, name, usage+": "+strings.Join(words, ", "))
	return &chosen
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return "word" }

// Set takes one of the words.
func (c *choice) Set(value string) error {
	for _, word := range c.words {
		if strings.EqualFold(word, value) {
			*c.value = word
			return nil
		}
	}
	return fmt.Errorf("there are %s", strings.Join(c.words, ", "))
}
