// Package cli is the command line of rsqld: the subcommands, their flags, and what they print.
//
// # Model
//
// Main takes an Environment, which holds everything a command touches outside of itself: arguments, the three streams
// and whether they are terminals, variables, signals. It finds the command, parses its flags, and runs it. Each command
// is a file: start, sql, demo, bench, the commands about members. Those that talk to a cluster open a session and give
// it to a repl.Shell; connect.go fits the driver to the shell.
//
// # Contract
//
// A flag is taken from the command line, else from the variable RSQLD_ and its name, else from the file of --config
// (start only), else it has its default. -join and --join are the same. A mistake is one line on stderr that says
// what was wrong, with the nearest name that exists.
//
// Exit codes: 0 done; 1 SQL or the command failed; 2 usage, or no connection; 130 interrupted. Results go to stdout,
// all else to stderr. Where stdout is no terminal it holds nothing but results: no banner, no prompt, no colour.
//
// # What it does not do
//
// It decides nothing about data: what a command means is the business of the packages below.
package cli
