//go:build mutants

// Command mutants measures the simulator: it compiles it once with each fault of testdata/mutants in the source, and runs
// it from seed 1 on until it notices, or has run all its seeds. `make mutants` runs it in the module's root.
//
// A mutant is killed by an invariant that is violated, a history that is wrong, or a cluster that does not come to life
// again, and by nothing else: a panic of the code under test says that an assertion of its own noticed, which is no
// merit of the simulator, and such a seed does not count. A mutant that does not compile is broken, and ends the run.
package main
