# make run            set up what is missing, start the farm, show a call, stay up for your softphone
# make run DEMO=once  the same, ending after the call: exit status 0 or 1
# make test           set up what is missing, run every test, measure the branch coverage of the cores
# make coverage       the tests without farms, and the coverage: a minute
# make check          lint, types, import contracts
# HOST=ADDRESS        lets phones of other machines call; ARGS="..." goes to `voicefarm demo` or to pytest

PY := .venv/bin/python
SOURCES := sipfront mediaworker aiworker shared voicefarm jobs tests bench docs deploy

FAST := tests/unit tests/property tests/conformance tests/simulation

.PHONY: run test check lint types imports unit coverage process peers bench docs setup setup-test

run: setup
	@exec $(PY) -m voicefarm demo $(if $(filter once,$(DEMO)),--once) $(if $(HOST),--host $(HOST)) $(ARGS)

test:
	@sh .ci/test $(ARGS)

unit:
	@sh .ci/test $(FAST) $(ARGS)

coverage:
	@sh .ci/test $(FAST) $$(cat .ci/coverage) $(ARGS)

process:
	@sh .ci/test tests/process $(ARGS)

peers:
	@sh .ci/test tests/peers $(ARGS)

check: lint types imports

lint: setup-test
	$(PY) -m ruff check $(SOURCES)
	$(PY) -m ruff format --check $(SOURCES)
	@! grep -rnE '\b(TODO|FIXME|XXX)\b' --include='*.py' --include='*.yaml' --include='*.cfg' --include='*.sh' $(SOURCES)

types: setup-test
	$(PY) -m mypy

imports: setup-test
	.venv/bin/lint-imports

bench: setup-test
	$(PY) -m bench.media $(ARGS)

docs: setup-test
	$(PY) docs/generate.py
	@if [ -e docs/diagrams.py ]; then $(PY) docs/diagrams.py; fi

setup:
	@sh .ci/setup run

setup-test:
	@sh .ci/setup test
