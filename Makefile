# rsqld: `make help` lists the targets. Only Go and make are needed, unless a target says otherwise.
GO       ?= go
BINARY   := bin/rsqld
MODULE   := github.com/rsqld/rsqld
PACKAGES := ./...
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64
export CGO_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help build run test fmt vet unit cross race figures bench compare soak suites mutants sim crash equal garbage proto clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/rsqld
	@$(GO) build -trimpath -o $(BINARY) .

run: build ## Build, then run a cluster of three nodes with a shell in front of it
	@$(BINARY) demo 3

test: fmt vet unit ## Check the format, vet, and run all unit and end-to-end tests

fmt:
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; fi

# db/sqlite holds pointers into C memory as uintptr, which vet's unsafeptr check cannot follow.
vet:
	@$(GO) vet $$($(GO) list $(PACKAGES) | grep -v '/db/sqlite$$')
	@$(GO) vet -unsafeptr=false ./db/sqlite

# The tests of whole clusters come alone: they have elections in them, which other work on the machine would cause.
unit:
	@$(GO) test -timeout 300s $$($(GO) list $(PACKAGES) | grep -v '/testcluster$$')
	@$(GO) test -timeout 300s ./testcluster

cross: ## Build for every supported platform, and vet the tests of every system
	@for platform in $(PLATFORMS); do \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} $(GO) build -o /dev/null . && echo "built $$platform" || exit 1; done
	@for system in linux darwin windows; do for tags in none soak figures crash; do \
		GOOS=$$system $(GO) vet -unsafeptr=false -tags $$tags $(PACKAGES) && echo "vetted $$system, tag $$tags" || exit 1; done; done

race: ## Run the tests under the race detector (needs a C compiler)
	@CGO_ENABLED=1 $(GO) test -race -timeout 1200s $(PACKAGES)

figures: ## Measure start, failover, imports, long readers and snapshots on real processes
	@$(GO) test -tags figures -timeout 3600s -count=1 -v -run 'TestFigure([^B]|B[^e])' ./testcluster | grep -E '^(figure|FAIL|ok|panic)'

bench: ## Measure all workloads on three processes, and reads in one (RSQLD_FLOOR names a program to write beside)
	@$(GO) test -tags figures -timeout 1800s -count=1 -v -run TestFigureBench ./testcluster | grep -E '^(figure|FAIL|ok|panic|.*_test.go)'

SEEDS ?= 300
sim: ## Run SEEDS (300) simulated clusters, a minute of faults each
	@mkdir -p bin; $(GO) test -timeout 0 -count=1 -v -run '^TestSim$$' ./testcluster/sim -seeds=$(SEEDS) -seconds=60 >bin/sim.out 2>&1; \
	status=$$?; grep -E '^(violation|panic|seeds=|FAIL|#|.*\.go:[0-9]+:)' bin/sim.out; exit $$status

mutants: ## Prove that the simulator finds faults: each mutant of the source must be caught
	@$(GO) run -tags mutants ./testcluster/sim/mutants

compare: ## Measure proposals a second beside etcd's core, in turns (a module of its own: downloads etcd's)
	@cd testcluster/etcdbench && $(GO) vet . && $(GO) test . && $(GO) run .

soak: ## Drills on whole clusters: fire, pauses, stalled, full and broken disks, load, replacement (twenty minutes)
	@$(GO) test -tags soak -timeout 2400s -count=1 -v -run 'TestDrill|TestTransfersUnderFire' ./testcluster | \
		awk '/^ *(drill=|--- FAIL|FAIL|ok|panic)|_test.go:.*(became|later|after)|^        time=.*role changed/; /^ *(--- )?FAIL/ {failed=1} END {exit failed}'

crash: ## Kill all processes of a cluster N (50) times under load, and look for what was acknowledged
	@mkdir -p bin; $(GO) test -tags crash -timeout 3600s -count=1 -v -run '^TestCrash$$' ./testcluster -crash.kills=$(or $(N),50) >bin/crash.out 2>&1; \
	status=$$?; grep -E '^(kills=|panic|FAIL|#)|crash_test.go' bin/crash.out; exit $$status

suites: ## Run the tests of well-known tools against a cluster whose leader moves (downloads them)
	@$(GO) run ./testcluster/suites

garbage: ## Throw a minute of garbage at a cluster
	@RSQLD_GARBAGE=60s $(GO) test -timeout 300s -count=1 -v -run TestGarbage ./testcluster | grep -E 'garbage:|^(---|FAIL|ok)'

equal: ## Apply 100,000 random entries on four replicas and compare (ENTRIES, SEED)
	@$(GO) test ./db/engine -timeout 3600s -count=1 -v -run TestEqualRandom -equal.entries $(or $(ENTRIES),100000) \
		-equal.seed $(or $(SEED),1) | grep -E 'equal:|unequal|replica|^(---|FAIL|ok)'

proto: ## Regenerate the protobuf code (needs protoc; installs the Go plugin)
	@$(GO) install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
	@PATH="$$($(GO) env GOPATH)/bin:$$PATH" protoc --go_out=. --go_opt=module=$(MODULE) \
		transport/wire/sql.proto transport/wire/peer.proto transport/wire/join.proto db/command/command.proto

clean: ## Remove what was built
	@rm -rf bin
