// Command suites runs the test suites of well-known tools, as they are, against a cluster whose leader is moved every second.
// Each suite is a module of its own in a directory beside this file, so that the program needs none of their dependencies:
//
//	go run ./testcluster/suites [NAME …]
//
// A suite finds the cluster by the environment: RSQLD_DSN is a data source name of the driver. What is known to fail, and
// why, is in expected.txt beside each go.mod: one test a line, then what SQL policy or guarantee it is about. Any other
// failure, and a test of that list which passes, fails the suite. The program ends with one line of figures.
package main
