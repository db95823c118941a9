module suites/sqlx

go 1.26.0

require github.com/jmoiron/sqlx v1.4.0

replace (
	github.com/mattn/go-sqlite3 => ../sqlite3
	github.com/rsqld/rsqld => ../../..
)
