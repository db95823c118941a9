package raft

import (
	"fmt"
	"sort"
)

// configurations are those in the log, by index: the first is the one as of the log's base, the others stand in
// entries after it. They are derived from the log and from nothing else, so that no roll-back has to be remembered:
// a cut takes away as many as it meets. The last one counts, committed or not (§4.1).
type configurations struct {
	list []ConfigurationAt
}

func newConfigurations(from Log) (configurations, error) {
	if from.BaseConfiguration.Index > from.Base.Index {
		return configurations{}, fmt.Errorf("base configuration of index %d is newer than the log's base %s",
			from.BaseConfiguration.Index, from.Base)
	}
	c := configurations{list: []ConfigurationAt{from.BaseConfiguration}}
	if !from.BaseConfiguration.Configuration.Empty() {
		if err := from.BaseConfiguration.Configuration.validate(); err != nil {
			return configurations{}, err
		}
	}
	for _, next := range from.Configurations {
		if next.Index <= max(from.Base.Index, c.active().Index) || next.Index > from.Last.Index {
			return configurations{}, fmt.Errorf("configuration of index %d is out of order in a log from %s to %s",
				next.Index, from.Base, from.Last)
		}
		if err := next.Configuration.validate(); err != nil {
			return configurations{}, fmt.Errorf("configuration of index %d: %w", next.Index, err)
		}
		c.list = append(c.list, next)
	}
	return c, nil
}

// active returns the configuration that counts.
func (c *configurations) active() *ConfigurationAt { return &c.list[len(c.list)-1] }

// at returns the configuration that counted at index, which must not be below the log's base.
func (c *configurations) at(index Index) *ConfigurationAt {
	after := sort.Search(len(c.list), func(i int) bool { return c.list[i].Index > index })
	return &c.list[max(after, 1)-1]
}

// push adds the configuration of a newly appended entry.
func (c *configurations) push(next ConfigurationAt) { c.list = append(c.list, next) }

// cut removes the configurations of entries from index on. It reports whether another one counts now.
func (c *configurations) cut(index Index) bool {
	keep := len(c.list)
	for keep > 1 && c.list[keep-1].Index >= index {
		keep--
	}
	changed := keep < len(c.list)
	c.list = c.list[:keep:keep]
	return changed
}

// compact forgets all configurations older than the one that counted at index.
func (c *configurations) compact(index Index) {
	for len(c.list) > 1 && c.list[1].Index <= index {
		c.list = c.list[1:]
	}
}
