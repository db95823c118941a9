package engine

import (
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// A text may hold several statements and has one list of arguments. Named arguments serve every parameter of their
// name (:name, @name, $name) in every statement. The others are used up in order: a statement takes one for each of its
// parameters, from the lowest number to the highest, that no named argument serves. So "?2" takes the second of those
// that the statements before have left.

// Parameter is one parameter of a statement.
type Parameter struct {
	// Name is without its sigil, empty for "?" and for numbers that the statement skips.
	Name string
}

// arguments hands out the arguments of one text.
type arguments struct {
	named map[string]*commandpb.Value
	// positional are those not handed out yet, of which there were given. They have no names.
	positional []*commandpb.Argument
	given      int
}

// newArguments sorts arguments into positional and named ones. Of two with one name the last counts.
func newArguments(args []*commandpb.Argument) arguments {
	first := slices.IndexFunc(args, isNamed)
	if first < 0 {
		return arguments{positional: args, given: len(args)}
	}
	a := arguments{named: make(map[string]*commandpb.Value), positional: slices.Clone(args[:first])}
	for _, arg := range args[first:] {
		if !isNamed(arg) {
			a.positional = append(a.positional, arg)
			continue
		}
		a.named[arg.Name] = arg.Value
	}
	a.given = len(a.positional)
	return a
}

func isNamed(arg *commandpb.Argument) bool { return arg.GetName() != "" }

// take calls bind for each parameter of the next statement with its number from 1.
func (a *arguments) take(parameters []Parameter, bind func(number int, v *commandpb.Value) error) error {
	need, missing := 0, ""
	for _, p := range parameters {
		if _, named := a.named[p.Name]; p.Name == "" || !named {
			need++
			missing = p.Name
		}
	}
	if need > len(a.positional) {
		if missing != "" && len(a.positional) == 0 {
			return &ArgumentError{fmt.Sprintf("the parameter %q has no argument: give one of that name, without the sign before it", missing)}
		}
		return a.wrongNumber(need)
	}
	for i, p := range parameters {
		value, named := a.named[p.Name]
		if p.Name == "" || !named {
			value, a.positional = a.positional[0].GetValue(), a.positional[1:]
		}
		if err := bind(i+1, value); err != nil {
			return err
		}
	}
	return nil
}

func (a *arguments) wrongNumber(need int) error {
	before := a.given - len(a.positional)
	if before == 0 {
		return &ArgumentError{fmt.Sprintf("the statement expects %s and got %d: give one for each parameter", plural(need), a.given)}
	}
	return &ArgumentError{fmt.Sprintf("the statement expects %s and got %d: of the %d given, the statements before it took %d; give one for each parameter of all of them",
		plural(need), len(a.positional), a.given, before)}
}

// finish reports positional arguments that no statement of the text took. A named one that serves nothing is no error:
// one set of names is often given to several texts.
func (a *arguments) finish() error {
	if left := len(a.positional); left > 0 {
		return &ArgumentError{fmt.Sprintf("the statement expects %s and got %d: leave out what no parameter takes", plural(a.given-left), a.given)}
	}
	return nil
}

func plural(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// SplitArguments returns the arguments of a text that its first piece takes, and those that are left for the statements
// after it. Named arguments go to both. With more false the piece is the last one of its text and gets all that there
// are, so that executing it reports those too many.
func SplitArguments(p Piece, args []*commandpb.Argument, more bool) (mine, others []*commandpb.Argument) {
	if !more {
		return args, nil
	}
	if mine, others, alone := splitPositional(p, args); alone {
		return mine, others
	}
	names := make(map[string]bool)
	for _, arg := range args {
		names[arg.GetName()] = true
	}
	need := 0
	for _, parameter := range p.Parameters {
		if parameter.Name == "" || !names[parameter.Name] {
			need++
		}
	}
	takes := make(map[string]bool)
	for _, parameter := range p.Parameters {
		takes[parameter.Name] = true
	}
	for _, arg := range args {
		switch {
		case arg.GetName() != "":
			if takes[arg.Name] {
				mine = append(mine, arg)
			}
			others = append(others, arg)
		case need > 0:
			mine = append(mine, arg)
			need--
		default:
			others = append(others, arg)
		}
	}
	return mine, others
}

// splitPositional is SplitArguments for a piece whose parameters have no names, and which takes arguments without names.
// It looks at no more than these, so that many arguments of many statements are split in one pass over all of them.
func splitPositional(p Piece, args []*commandpb.Argument) (mine, others []*commandpb.Argument, alone bool) {
	need := min(len(p.Parameters), len(args))
	if slices.ContainsFunc(p.Parameters, func(p Parameter) bool { return p.Name != "" }) || slices.ContainsFunc(args[:need], isNamed) {
		return nil, nil, false
	}
	return args[:need:need], args[need:], true
}
