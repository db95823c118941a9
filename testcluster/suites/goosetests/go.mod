module github.com/rsqld/rsqld/testcluster/suites/goosetests

go 1.26.0

replace (
	github.com/rsqld/rsqld => ../../..
	modernc.org/sqlite => ../moderncsqlite
)

require (
	github.com/pressly/goose/v3 v3.29.0
	github.com/stretchr/testify v1.12.1
	modernc.org/sqlite v1.61.1
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/mfridman/interpolate v0.0.2 // indirect
	github.com/quic-go/quic-go v0.65.0 // indirect
	github.com/rsqld/rsqld v0.0.0 // indirect
	github.com/sethvargo/go-retry v0.5.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
