# Jackfield: `make run` starts the server, `make test` proves it. Each target does what it needs first, once.

PYTHON ?= python3
CARGO ?= cargo
VENV := .venv
BIN := $(VENV)/bin
MANIFEST := media/Cargo.toml
TOOLS := $(VENV)/.tools
INSTALLED := $(VENV)/.installed
BUILT := $(VENV)/.built
RUST := $(MANIFEST) media/Cargo.lock $(wildcard media/src/*.rs media/src/*/*.rs media/build.rs)
PYTHON_CODE := sipcore media conf prompts pbx queues ivr recording supervision billing_client billing web \
	jackfield tests benchmarks
ARGS ?=
# libopus is built by the cmake that lies there.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run try test check lint unit bench build format clean lock ready help
.DEFAULT_GOAL := help

help:
	@echo "make run      start the server (ARGS='--config my.toml' goes to jackfield)"
	@echo "make try      prove that calls work on this machine"
	@echo "make check    formatter, linters, types, fast tests: before each commit"
	@echo "make test     everything, with phones and databases that others wrote"
	@echo "make bench    measure; build: a wheel in dist/; format: mend the layout; clean: start over"
	@echo "make lock     resolve the dependencies anew"

run: ready
	@$(BIN)/jackfield $(ARGS) run

try: ready
	@$(BIN)/jackfield try $(ARGS)

ready: $(BUILT)

$(TOOLS): scripts/check-tools $(MANIFEST)
	@scripts/check-tools "$(PYTHON)" $(MANIFEST)
	@test -x $(BIN)/python || { echo "Making $(VENV)"; "$(PYTHON)" -m venv $(VENV); }
	@touch $@

$(INSTALLED): requirements.lock $(TOOLS)
	@echo "Installing the Python packages of requirements.lock"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(BUILT): $(INSTALLED) $(RUST) pyproject.toml
	@echo "Building the media core"
	@VIRTUAL_ENV="$(CURDIR)/$(VENV)" PIP_QUIET=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
		$(BIN)/maturin develop --release --locked --quiet >/dev/null
	@touch $@

check: lint unit

lint: ready
	@$(BIN)/ruff check $(PYTHON_CODE)
	@$(BIN)/ruff format --check --quiet $(PYTHON_CODE) || { echo "make format mends the layout"; exit 1; }
	@$(BIN)/mypy
	@$(CARGO) fmt --manifest-path $(MANIFEST) --check
	@$(CARGO) clippy --manifest-path $(MANIFEST) --locked --quiet --all-targets -- -D warnings

unit: ready
	@$(CARGO) test --manifest-path $(MANIFEST) --locked --quiet
	@$(BIN)/pytest -q -m "not wire and not slow" $(ARGS)

# Both suites always run, and pytest's count stands in the last line.
test: ready
	@tests/install-peers
	@rust=0; $(CARGO) test --manifest-path $(MANIFEST) --locked --quiet || rust=$$?; \
	$(BIN)/pytest $(ARGS) && exit $$rust

bench: ready
	@$(BIN)/python -m benchmarks $(ARGS)

build: ready
	@$(BIN)/maturin build --release --locked --out dist

format: ready
	@$(BIN)/ruff check --quiet --fix-only $(PYTHON_CODE)
	@$(BIN)/ruff format $(PYTHON_CODE)
	@$(CARGO) fmt --manifest-path $(MANIFEST)

# What calls left behind in var/ is not ours to throw away.
clean:
	rm -rf $(VENV) dist media/target media/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(PYTHON_CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# A release must have been out for a week before it is taken.
lock: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --extra dev \
		--exclude-newer "$$(date -u -d '7 days ago' +%Y-%m-%dT00:00:00Z)" \
		--output-file requirements.lock pyproject.toml
