module suites/xorm

go 1.26.0

require xorm.io/xorm v1.4.3

require (
	github.com/goccy/go-json v0.10.5 // indirect
	github.com/golang/snappy v0.0.4 // indirect
	github.com/rsqld/rsqld v0.0.0-00010101000000-000000000000 // indirect
	github.com/syndtr/goleveldb v1.0.0 // indirect
	modernc.org/sqlite v1.61.1 // indirect
	xorm.io/builder v0.3.13 // indirect
)

replace (
	github.com/mattn/go-sqlite3 => ../sqlite3
	github.com/rsqld/rsqld => ../../..
)

replace gitee.com/travelliu/dm => ../absent
