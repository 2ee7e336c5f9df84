# Two commands: `make round` and `make test`. Both make .venv first, from python3 alone.
PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.ready

.PHONY: round test torture peers lint lock clean

round: $(READY)
	$(BIN)/roundhouse round

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# All of the faults, for hours; SEED draws others. The last counts stand in docs/faults.md.
SEED ?= 1
TALLY = state/torture.jsonl
torture: $(READY)
	mkdir -p state && rm -f $(TALLY)
	ROUNDHOUSE_TORTURE_SEED=$(SEED) ROUNDHOUSE_TORTURE_TALLY=$(CURDIR)/$(TALLY) \
		$(BIN)/python -m pytest -n 2 -m torture --timeout 12000 tests; code=$$?; cat $(TALLY); exit $$code

# What benchmarks and `benchmarks/agreement*.py` compare with (TRL), in a folder of its own.
peers: .venv-peers/.ready
.venv-peers/.ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Roundhouse needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

# The versions that were tested, written anew from what is installed.
lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf .venv .venv-peers build dist *.egg-info src/*.egg-info
