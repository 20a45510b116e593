# make build: bin/oncesink, static   make test: all tests   make lint   make fuzz
# make bench: the table and the plot of docs/performance.md, in half an hour   make bench-quick: a minute

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: build test lint fuzz bench bench-growth bench-rebuild bench-rollups bench-quick airflow-example
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.release=$(VERSION)' -o bin/oncesink ./cmd/oncesink

# Installs from Debian what the tests need and is not there, or says what to install.
test:
	@scripts/test

lint:
	@scripts/check-format
	go vet ./...
	go run $(STATICCHECK) ./...

fuzz:
	@scripts/fuzz

bench:
	go run ./internal/bench -out docs

bench-growth:
	go run ./internal/bench -growth -rounds 1 -out docs

bench-rebuild:
	go run ./internal/bench -rebuild -out docs

bench-rollups:
	go run ./internal/bench -rollups -rounds 2 -out docs

airflow-example:
	@scripts/airflow-example

bench-quick:
	go run ./internal/bench -quick
