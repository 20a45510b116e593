# make build: bin/oncesink, static   make test: all tests   make test-long   make lint   make fuzz
# make model: the model of the protocol, verified (docs/model.md)
# make mutations: the program without each of its guarantees, which a test must notice, and docs/mutations.md
# make day: docs/day.md, in five minutes
# make deploy: deploy/kubernetes from the chart, and validators
# make torture: the fault matrix, against real processes, in a quarter of an hour; ROWS=2,4 SEED=17 plays some rows, DOCS=docs writes docs/faults.md
# make bench: the table and the plot of docs/performance.md, in half an hour   make bench-quick: a minute

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: build test test-long model mutations lint deploy fuzz bin/bench bench bench-growth bench-rebuild bench-children bench-rollups bench-poison bench-envelopes bench-quick airflow-example citus-example debezium-example day torture
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.release=$(VERSION)' -o bin/oncesink ./cmd/oncesink

# Installs from Debian what the tests need and is not there, or says what to install.
test:
	@scripts/test

# The random tests as often as before a release, on every version.
test-long:
	@ONCESINK_TEST_LONG=1 scripts/test

# The model of the protocol, by Spin; a part of make test.
model:
	@scripts/model

# A part of make test is only that the edits still apply. It needs what the tests need, and some minutes.
mutations:
	go run ./internal/mutation -docs docs

lint:
	@scripts/lint

deploy:
	@scripts/deploy

fuzz:
	@scripts/fuzz

bin/bench:
	go build -C internal/bench -o ../../bin/bench .

bench: bin/bench
	bin/bench -out docs
	bin/bench -envelopes -rounds 1 -out docs

# Debezium's envelopes alone, which make bench measures, too.
bench-envelopes: bin/bench
	bin/bench -envelopes -rounds 1 -out docs

bench-growth: bin/bench
	bin/bench -growth -rounds 1 -out docs

bench-rebuild: bin/bench
	bin/bench -rebuild -out docs

# Orders with their lines: a million take some minutes.
bench-children: bin/bench
	bin/bench -children -rounds 1 -out docs

bench-rollups: bin/bench
	bin/bench -rollups -rounds 2 -out docs

bench-poison: bin/bench
	bin/bench -poison -rounds 2 -out docs

# What docs/day.md tells, which it writes.
day:
	@go run ./internal/dayexample

# Rows of the fault matrix: all of them, or ROWS, of a SEED, RUNS times; FOR is how long row 35 lasts. The page has what is played with DOCS=docs.
ROWS ?= all
SEED ?= 0
RUNS ?= 1
FOR ?= 2m
torture:
	go test ./internal/torture -count=1 -timeout 0 -v -run 'TestTorture$$' -rows '$(ROWS)' -seed $(SEED) -runs $(RUNS) -for $(FOR) $(if $(DOCS),-docs $(abspath $(DOCS)))

debezium-example:
	@go run ./internal/debeziumexample

airflow-example:
	@scripts/airflow-example

citus-example:
	@scripts/citus-example

bench-quick: bin/bench
	bin/bench -quick
