# Two commands do everything on a fresh Debian 12: make demo, make test.
SHELL := bash
ARGS ?=
PY := .venv/bin/python

.PHONY: install services demo test test-long check bench bench-fleet bench-market bench-carbon lock clean

install:
	@deploy/setup/install.sh

services:
	@deploy/setup/services.sh

demo: install
	@$(PY) -m vpp.demo $(ARGS)

test: install services
	$(PY) -m pytest -m "not long" $(ARGS)

test-long: install services
	$(PY) -m pytest $(ARGS)

check: install
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy sites markets carbon vpp
	.venv/bin/lint-imports --no-cache
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) deploy/setup/docs_links.py README.md CHANGELOG.md CONTRIBUTING.md docs deploy

bench: install
	$(PY) -m tests.benchmarks $(ARGS)

bench-fleet: install services
	$(PY) -m tests.benchmarks.fleet $(ARGS)

bench-market: install services
	$(PY) -m tests.benchmarks.market $(ARGS)

bench-carbon: install
	$(PY) -m tests.benchmarks.carbon $(ARGS)

# Made again only when pyproject.toml changes; hashes for every file of a release, no index address.
LOCK := .venv/bin/uv pip compile --quiet --generate-hashes --no-header --no-annotate --no-emit-index-url \
	--python-version 3.11 --python-platform x86_64-manylinux_2_34 pyproject.toml
lock:
	$(LOCK) -o requirements/base.txt
	$(LOCK) --extra platform -o requirements/platform.txt
	$(LOCK) --extra platform --extra studies --extra dev -o requirements/dev.txt

clean:
	rm -rf .venv var build *.egg-info
