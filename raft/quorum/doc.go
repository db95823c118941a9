// Package quorum is the arithmetic of majorities: what a group of voters has acknowledged, and whether it has granted
// an election.
//
// A Majority is one group; a Joint is two, of which both must agree (§4.3 of Ongaro's dissertation). Everything that
// needs a quorum, be it commitment, elections, CheckQuorum or read rounds, asks one of two questions:
//
//   - Committed: which is the highest value that a quorum has reached?
//   - Tally: do the answers so far win the election, lose it, or leave it open?
//
// The neutral element makes joint quorums two lines long: a group without members agrees to everything, so that a
// Joint without outgoing voters behaves as its incoming half. Whoever holds a configuration that has no voters at all
// must therefore ask nothing here.
//
// The package does not know what is counted, remembers nothing between two calls, and does not check that ids are
// distinct: that is the configuration's promise.
package quorum
