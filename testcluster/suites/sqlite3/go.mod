module github.com/mattn/go-sqlite3

go 1.26.0

require github.com/rsqld/rsqld v0.0.0

replace github.com/rsqld/rsqld => ../../..
