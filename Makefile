# Every target says what it is for; `make help` lists them.
GO    ?= go
BIN   := $(CURDIR)/bin
STATE ?= demo
FUZZTIME ?= 1m
export CGO_ENABLED ?= 0

.PHONY: help build test test-short test-update race fuzz lint fix verify sweep e2e e2e-short e2e-up e2e-down lab demo demo-down cover

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

build: ## build bin/serin and bin/lab
	$(GO) build -ldflags "-s -w" -o $(BIN)/serin ./cmd/serin
	cd lab && $(GO) build -o $(BIN)/lab ./cmd/lab

test: build ## all tests that need no root, the lab's included
	$(GO) test -shuffle=on ./...
	cd lab && SERIN_BIN=$(BIN)/serin $(GO) test -p 1 -shuffle=on -timeout 40m ./...

test-short: ## the tests that need no lab
	$(GO) test -shuffle=on ./...
	cd lab && $(GO) test -short -shuffle=on ./...

test-update: ## rewrite the golden files, to be reviewed as code
	$(GO) test ./internal/fields ./internal/plan ./internal/view ./internal/cli ./test/script -update

race: ## the packages that have goroutines under the race detector, where there is a C compiler
	@if command -v "$${CC:-cc}" >/dev/null; then set -x; \
	CGO_ENABLED=1 $(GO) test -race -short -shuffle=on ./internal/drive ./internal/evidence ./internal/journal ./internal/cluster ./internal/hooks ./internal/istiod ./internal/cli; \
	else echo "no C compiler: the race detector is left out"; fi

fuzz: ## each fuzz target for FUZZTIME (1m), one after the other
	@set -e; grep -rlE '^func Fuzz' --include=*_test.go internal | sort | while read -r file; do \
	for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9]+)\(.*/\1/p' "$$file"); do \
	echo "$${file%/*} $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$${file%/*}"; done; done

lint: $(BIN)/golangci-lint ## golangci-lint over all three modules
	$(BIN)/golangci-lint run --allow-parallel-runners ./...
	cd lab && $(BIN)/golangci-lint run --allow-parallel-runners --config ../.golangci.yml ./...
	cd test/e2e && $(BIN)/golangci-lint run --allow-parallel-runners --config ../../.golangci.yml ./...

fix: $(BIN)/golangci-lint ## format and fix what can be
	$(BIN)/golangci-lint fmt ./...
	$(BIN)/golangci-lint run --fix ./...

$(BIN)/golangci-lint: tools/go.mod
	cd tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

verify: lint race test ## what CI runs, a short upgrade on real pods where that can be; SERIN_E2E=0 leaves it out
	@if [ "$$SERIN_E2E" = 0 ]; then echo "LEFT OUT: a short upgrade on real pods, by SERIN_E2E=0"; \
	else $(MAKE) e2e-short || { echo "AGAIN: a busy machine loses requests by itself; serin's fault comes back"; $(MAKE) e2e-short; }; fi

sweep: build ## kill serin around every write of an upgrade; hours, resumable: the results are kept in sweep.jsonl
	cd lab && SERIN_BIN=$(BIN)/serin SERIN_SWEEP=$(CURDIR)/sweep.jsonl $(GO) test ./test -run 'TestSweep|TestFaults' -timeout 12h -v

e2e: build ## whole upgrades on real pods and real Envoy, every request counted: as root on a node of its own, or KUBECONFIG=FILE (E2E= more arguments of the tests)
	cd test/e2e && $(GO) build -o $(BIN)/node ./cmd/node && $(GO) test -c -o $(BIN)/e2e.test .
	mkdir -p $(BIN)/e2e && cd test/e2e && export SERIN_BIN=$(BIN)/serin SERIN_E2E_OUT=$(BIN)/e2e; \
	if [ "$(origin KUBECONFIG)" = "command line" ]; \
	then SERIN_E2E_KUBECONFIG=$(abspath $(KUBECONFIG)) $(BIN)/e2e.test -test.v -test.timeout 3h $(E2E); \
	else $(BIN)/node run --name e2e -- $(BIN)/e2e.test -test.v -test.timeout 3h $(E2E); fi

# The whole way once, slowly, so that it fits CI: some two minutes when the node's
# parts are in the cache. Where there is no root, a package is missing, the kernel
# refuses, or the parts have not been built yet (that does not fit beside the lab's
# build in CI's time), it says that it is left out, and why, and does not fail.
e2e-short: build ## one whole upgrade on real pods at 20 requests a second: says why where it cannot
	cd test/e2e && $(GO) build -o $(BIN)/node ./cmd/node && $(GO) test -c -o $(BIN)/e2e.test .
	SERIN_BIN=$(BIN)/serin $(BIN)/node run --where-possible --name short -- $(BIN)/e2e.test -test.v -test.timeout 8m \
	-test.run 'TestUpgrade_thereAndBackLosesNothing/^there$$' -rate 20 -soak 2s

e2e-up: build ## make the one-node cluster and leave it: bin/node exec -- kubectl get pods -A; make e2e-down ends it
	cd test/e2e && $(GO) build -o $(BIN)/node ./cmd/node && $(BIN)/node up --name e2e

e2e-down: ## remove the one-node cluster and every trace of it
	$(BIN)/node down --name e2e

lab: build ## start the lab with Istio 1.27.0 and bookinfo, no upgrade; make demo-down ends it
	$(BIN)/lab demo --name $(STATE) --serin $(BIN)/serin --no-upgrade

demo: build ## start the lab and upgrade a real Istio from 1.27.0 to 1.29.1 under load; REAL=1: as root, on real pods and real Envoy, removed at the end
ifdef REAL
	cd test/e2e && $(GO) build -o $(BIN)/node ./cmd/node && $(GO) build -o $(BIN)/e2e-demo ./cmd/demo
	$(BIN)/node run --name $(STATE) -- $(BIN)/e2e-demo -serin $(BIN)/serin
else
	$(BIN)/lab demo --name $(STATE) --serin $(BIN)/serin
endif

demo-down: ## end the lab that make demo or make lab left running
	$(BIN)/lab down --name $(STATE)

cover: ## coverage of the product's packages
	$(GO) test -coverprofile=cover.out ./... && $(GO) tool cover -func=cover.out | tail -1
