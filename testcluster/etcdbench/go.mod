module github.com/rsqld/rsqld/testcluster/etcdbench

go 1.26.0

require (
	github.com/rsqld/rsqld v0.0.0
	go.etcd.io/raft/v3 v3.7.0
)

require (
	golang.org/x/sys v0.49.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/rsqld/rsqld => ../..
