package raft

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// Whatever is pushed, cut (any number at once) and compacted, the configurations are those of the newest entry at or before
// an index in a plain list of all that was ever appended and not cut.
func TestConfigurationsMatchAList(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		list := []ConfigurationAt{{}}
		c, err := newConfigurations(Log{})
		if err != nil {
			t.Fatal(err)
		}
		var base, last Index
		for range 60 {
			switch random.IntN(4) {
			case 0, 1:
				last += 1 + Index(random.IntN(3))
				next := ConfigurationAt{last, voters(ID(last))}
				list = append(list, next)
				c.push(next)
			case 2:
				if last == base {
					break
				}
				from := base + 1 + Index(random.IntN(int(last-base)))
				for len(list) > 1 && list[len(list)-1].Index >= from {
					list = list[:len(list)-1]
				}
				before := c.active().Index
				if changed := c.cut(from); changed != (before >= from) {
					t.Fatalf("cut at %d reports %v, the active one was of %d", from, changed, before)
				}
				last = from - 1
			case 3:
				base += Index(random.IntN(int(last-base) + 1))
				c.compact(base)
			}
			for index := base; index <= last; index++ {
				want := list[0]
				for _, at := range list {
					if at.Index <= index {
						want = at
					}
				}
				if got := c.at(index); !reflect.DeepEqual(*got, want) {
					t.Fatalf("at %d: got %+v, want %+v", index, got, want)
				}
			}
			if got, want := c.active(), list[len(list)-1]; !reflect.DeepEqual(*got, want) {
				t.Fatalf("active is %+v, want %+v", got, want)
			}
		}
	}
}

// Any change of any configuration leads to one that may follow it: it is valid, quorums of the two intersect, members that
// left are removed for ever, and leaving a joint configuration does what was asked for.
func TestChangesLeadToSafeConfigurations(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	done, joint := 0, 0
	for range 30_000 {
		c := drawConfiguration(random)
		if len(c.Voters) == 0 {
			continue
		}
		var m Membership
		for id := ID(1); id <= 7; id++ {
			if list := []*[]ID{&m.AddLearners, &m.Promote, &m.Demote, &m.Remove, {}, {}}[random.IntN(6)]; list != nil {
				*list = append(*list, id)
			}
		}
		next, err := c.change(m)
		if err != nil {
			continue
		}
		done++
		after := next
		if next.Joint() {
			joint++
			after = next.leave()
			checkFollows(t, &next, &after)
		}
		checkFollows(t, &c, &next)
		for id := ID(1); id <= 7; id++ {
			voter, learner, removed := c.Voter(id), c.Learner(id), contains(c.Removed, id)
			switch {
			case contains(m.AddLearners, id), contains(m.Demote, id):
				voter, learner = false, true
			case contains(m.Promote, id):
				voter, learner = true, false
			case contains(m.Remove, id):
				voter, learner, removed = false, false, true
			}
			if after.Voter(id) != voter || after.Learner(id) != learner || contains(after.Removed, id) != removed {
				t.Fatalf("%s after %+v is %s, removed %v: node %d", c, m, after, after.Removed, id)
			}
		}
	}
	if done < 300 || joint < 200 {
		t.Errorf("only %d changes, %d of them joint, were tried", done, joint)
	}
}

func checkFollows(t *testing.T, before, after *Configuration) {
	t.Helper()
	if err := after.validate(); err != nil {
		t.Fatalf("%s after %s: %v", after, before, err)
	}
	if apart := disjointQuorums(before, after); apart != nil {
		t.Fatalf("%s after %s: %v decides alone in the one", after, before, apart)
	}
	data, err := after.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := DecodeConfiguration(data); err != nil || again.String() != after.String() {
		t.Fatalf("%s: decoded as %s, %v", after, again, err)
	}
}

// drawConfiguration gives each of the nodes 1 to 7 a part: voter, learner, removed or none.
func drawConfiguration(random *rand.Rand) (c Configuration) {
	for id := ID(1); id <= 7; id++ {
		list := []*[]ID{&c.Voters, &c.Voters, &c.Learners, &c.Removed, {}}[random.IntN(5)]
		*list = append(*list, id)
	}
	return c
}

// Beyond MaxRemoved the lowest ids are forgotten, and the configuration stays one that fits.
func TestRemovedIsBounded(t *testing.T) {
	c := voters(1, 2)
	for id := ID(10); id < 10+2*MaxRemoved; id++ {
		for _, m := range []Membership{{AddLearners: []ID{id}}, {Remove: []ID{id}}} {
			next, err := c.change(m)
			if err != nil {
				t.Fatal(err)
			}
			c = next
		}
	}
	if err := c.validate(); err != nil || len(c.Removed) != MaxRemoved || c.Removed[MaxRemoved-1] != 10+2*MaxRemoved-1 {
		t.Errorf("%v; %d are remembered, up to %d", err, len(c.Removed), c.Removed[len(c.Removed)-1])
	}
}

// A configuration of the largest size with the largest ids fits where the durable log keeps one: 3,900 bytes.
func TestLargestConfigurationFits(t *testing.T) {
	c := Configuration{}
	for i := range ID(MaxMembers) {
		c.Outgoing = append(c.Outgoing, maxNumber-1000+i)
		c.Removed = append(c.Removed, maxNumber-2000+i)
	}
	c.Voters, c.LearnersNext = c.Outgoing[:1], c.Outgoing[1:]
	data, err := c.AppendBinary(nil)
	if err != nil || c.validate() != nil || len(data) > 3900 {
		t.Errorf("%d bytes, %v, %v", len(data), err, c.validate())
	}
}
