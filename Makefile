# Everything that CI does can be run by hand by one target. A module is any
# directory with a go.mod; a new one is picked up without touching this file.

SHELL    := /bin/bash
FUZZTIME ?= 30s
BENCH    ?= .
COUNT    ?= 1

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: ## the whole thing: missing servers installed, gofmt, vet, and all tests with -race on every database
	@scripts/test

.PHONY: test-short
test-short: ## the tests on what this machine has, without the race detector and the long runs
	@scripts/servers scripts/modules go test -short ./...

.PHONY: lint
lint: ## golangci-lint if it is installed, else gofmt and vet
	@scripts/lint

.PHONY: fmt
fmt: ## format all Go files
	@if command -v gofumpt >/dev/null; then gofumpt -w .; else gofmt -w .; fi

.PHONY: bench
bench: ## run the benchmarks (BENCH=regexp COUNT=n)
	@scripts/servers scripts/modules go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (30s)
	@scripts/servers scripts/fuzz '$(FUZZTIME)'

.PHONY: demo
demo: ## run examples/quickstart
	@cd examples/quickstart && go run .

.PHONY: servers
servers: ## start the test servers, print their addresses, and keep them until interrupted
	@scripts/servers
