module modernc.org/sqlite

go 1.26.0

require github.com/rsqld/rsqld v0.0.0

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/quic-go/quic-go v0.65.0 // indirect
	golang.org/x/crypto v0.54.0 // indirect
	golang.org/x/net v0.56.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/rsqld/rsqld => ../../..
