# Two commands matter: `make demo` shows the product at work, `make test` proves it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 4
OLIST := $(wildcard ../shared/data)

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export DO_NOT_TRACK = 1
unexport PYTHONDONTWRITEBYTECODE  # tests start many processes: each would compile everything anew
ifneq ($(OLIST),)
export NURTURE_OLIST_DIR ?= $(abspath $(OLIST))
endif

.PHONY: demo test test-all quick lint unit bench chaos lock audit clean

demo: $(READY)  ## Run the webinar example: 250 registrants, 180 days, in about a minute.
	@$(BIN)/nurture demo

test: lint unit  ## Everything that must hold, on SQLite and on PostgreSQL.

lint: $(READY)  ## Layout, types and style.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Four workers on two cores: a third of the time, tests wait for a server, a browser or a process.
unit: $(READY)
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# For daily work: what no database is needed for (domain, rules, matching), and of every other package one file, which it
# marks with `pytest.mark.quick`. Mark the one that finds most of what breaks; PostgreSQL and the rest are for `make test`.
quick: lint  ## Lint, types and the tests that find most, in about a minute.
	$(BIN)/pytest -n 2 --dist loadfile -m quick -k "not postgres"

# Each in an environment of its own, with what is locked. Needs uv.
PYTHONS := 3.11 3.12 3.13 3.14
test-all: lint  ## The tests on every supported Python that is here, or that uv can bring.
	@set -e; for version in $(PYTHONS); do \
	  if ! uv python find $$version >/dev/null 2>&1 && ! uv python install --quiet $$version >/dev/null 2>&1; then \
	    echo "Python $$version: not here, skipped"; continue; fi; \
	  echo "Python $$version"; there=build/python-$$version; \
	  uv venv --quiet --clear --python $$version $$there; \
	  VIRTUAL_ENV=$$there uv pip install --quiet --require-hashes --requirement requirements.lock; \
	  VIRTUAL_ENV=$$there uv pip install --quiet --no-deps --no-build-isolation --editable .; \
	  $$there/bin/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS); done

# `make bench up scale-out` and `make chaos soak MINUTES=15` run the named parts.
ifneq ($(filter bench chaos,$(firstword $(MAKECMDGOALS))),)
PARTS := $(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS))
.PHONY: $(PARTS)
$(foreach part,$(PARTS),$(eval $(part):;@:))
endif

bench: $(READY)  ## Print how fast the engine is, beside a hand-written loop.
	$(BIN)/python -m tests.bench $(PARTS)

chaos: $(READY)  ## Kill workers, fill disks, opt out at any moment: nothing twice, nothing lost. SEED=... repeats it.
	$(BIN)/python -m tests.chaos $(PARTS)

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nurture needs Python 3.11 or newer; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock:  ## Pin every dependency with its hashes, for every supported Python; UPGRADE=1 takes the newest. Needs uv.
	$(COMPILE) $(if $(UPGRADE),--upgrade) --group dev --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --output-file deploy/requirements.lock

# In an environment of its own, and not part of `make test`: it asks PyPI what is known of each version that is locked. A version
# that it cannot look up is a failure too.
AUDIT = build/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock
audit:  ## Look for known vulnerabilities in what is locked; write a bill of materials (CycloneDX). Needs the network.
	$(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --upgrade pip-audit
	$(AUDIT)
	$(AUDIT) --format cyclonedx-json --output build/sbom.json

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis
