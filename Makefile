# Postrider. `make help` lists what there is.

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
MAKEFLAGS     += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The nearest tag, else the commit, else what a copy without history can say.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)

# staticcheck has a go.mod of its own, so that what it needs is not what Postrider needs.
STATICCHECK := go tool -modfile=.ci/tools/go.mod staticcheck

# How large the heavy runs are; 1 is what the documents promise.
SCALE ?= 0.1

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build bin/postrider, one static file
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/postrider ./cmd/postrider

.PHONY: demo
demo: build ## build, then send a whole campaign over all four channels to the sandbox
	@bin/postrider demo

.PHONY: test
test: servers lint ## everything that must be green: formatting, vet, staticcheck, all tests, with the race detector but for acceptance
	@CGO_ENABLED=1 POSTRIDER_SCALE=$(SCALE) go test -race -timeout 40m $$(go list ./... | grep -v '/acceptance$$')
	@POSTRIDER_SCALE=$(SCALE) go test -timeout 40m ./acceptance

.PHONY: accept
accept: servers ## the acceptance runs and the benchmarks in full size
	POSTRIDER_SCALE=1 go test -count=1 -timeout 120m -v -run '^TestAccept' ./acceptance/...
	@$(MAKE) bench

.PHONY: chaos
chaos: servers ## the crash suite in full size: everything is killed, everywhere, on purpose
	POSTRIDER_SCALE=1 go test -count=1 -timeout 60m -v -run '^TestTheModel' ./jobs
	POSTRIDER_SCALE=1 go test -count=1 -timeout 120m -v -run '^TestChaos' ./acceptance/...

.PHONY: bench
bench: servers ## one million recipients, CSV to last outcome (BENCH_ROWS=100000 for a tenth)
	go run ./bench -rows $(or $(BENCH_ROWS),1000000)

.PHONY: bench-safety
bench-safety: servers ## what recording attempts costs, and reading history for a million recipients
	go run ./bench -safety -rows $(or $(BENCH_ROWS),1000000)
	go run ./bench -look -rows $(or $(BENCH_ROWS),1000000)
	go run ./bench -reconcile -rows $(or $(BENCH_ROWS),1000000)

.PHONY: bench-quote
bench-quote: ## pricing a million SMS by class
	go run ./bench -quote -rows $(or $(BENCH_ROWS),1000000)

.PHONY: bench-import
bench-import: servers ## importing a million rows into SQLite and PostgreSQL, and a workbook
	go run ./bench -import -rows $(or $(BENCH_ROWS),1000000)
	go run ./bench -import -postgres -rows $(or $(BENCH_ROWS),1000000)

.PHONY: lint
lint: ## formatting, go vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt: $$unformatted" >&2; exit 1; fi
	go vet ./...
	@$(STATICCHECK) ./...

.PHONY: fmt
fmt: ## format all Go files
	gofmt -w .

.PHONY: secrets
secrets: ## make the passwords that docker-compose.yml reads, in ./secrets
	@deploy/make-secrets secrets

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

# What the tests run against: installed on Debian by root, else named.
.PHONY: servers
servers:
	@.ci/install
