# Everything runs in a virtual environment that is made when it is missing, by exact pins.
# Another one is used with: make test VENV=/somewhere

VENV ?= .venv
# The first Python on this machine that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# By its exact version: with a range, pip takes the newest build and gigabytes of CUDA beside it.
TORCH := torch==$(shell sed -n 's/^torch==//p' constraints.txt)
INSTALL := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt

# Several processes test side by side, each on one thread.
PYTEST_FLAGS ?= -q -n auto --maxprocesses 4

.PHONY: help demo test lint bench docs clean

help:
	@echo 'make demo    the main job on text that ships with Python: about five minutes, into demo/'
	@echo 'make test    the tests'
	@echo 'make lint    format, style and types'
	@echo 'make bench   speed beside that of the usual tools'
	@echo 'make docs    the documentation, into docs/_build/html'
	@echo 'make clean   remove what was made, the virtual environment included'

demo: $(VENV)/.core
	$(VENV)/bin/unmask demo --out demo

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest $(PYTEST_FLAGS)

lint: $(VENV)/.lint
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

# Less than an hour on two quiet cores, in an environment of its own: the peers bring much along.
# What fails does not keep the others from being measured. benchmarks/README.md tells of the studies
# that take hours.
BENCH ?= .bench/venv
BENCHMARKS := stream prepare training questions encoding cold
bench:
	@test -d ../shared/data || { echo 'The benchmarks read ../shared/data, which is not here.' >&2; exit 1; }
	@$(MAKE) --no-print-directory VENV=$(BENCH) $(BENCH)/.bench
	@failed=; for name in $(BENCHMARKS) report; do \
		echo "$(BENCH)/bin/python benchmarks/$$name.py"; \
		$(BENCH)/bin/python benchmarks/$$name.py || failed="$$failed $$name"; \
	done; \
	test -z "$$failed" || { echo "Failed, wholly or in part:$$failed" >&2; exit 1; }

docs: $(VENV)/.docs
	$(VENV)/bin/sphinx-build -q -W --keep-going docs docs/_build/html
	@echo 'Open docs/_build/html/index.html'

clean:
	rm -rf $(VENV) $(BENCH) demo docs/_build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# An empty file marks what the environment holds; it is older than a changed list of dependencies.
$(VENV)/.core: pyproject.toml constraints.txt
	@test -n '$(PYTHON)' || { echo 'unmask needs Python 3.11 or later; name it by PYTHON=...' >&2; exit 1; }
	@echo 'Installing unmask into $(VENV): once, a minute or two and about 1.5 GB ...' >&2
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) $(TORCH)
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.test $(VENV)/.lint $(VENV)/.docs $(VENV)/.bench: $(VENV)/.%: $(VENV)/.core
	@echo 'Installing what "$*" needs ...' >&2
	@$(INSTALL) -e '.[$*]'
	@touch $@
