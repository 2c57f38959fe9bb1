# Every target does its own set-up: a .venv with the locked dependencies. Needed: git, make, python3 >= 3.11.
.PHONY: demo test check lab bench soak format clean

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .venv/bin/uv)
READY := .venv/.ready
RUN := $(UV) run --frozen

$(READY): uv.lock pyproject.toml
	@command -v uv >/dev/null 2>&1 || test -x .venv/bin/uv || \
	  { $(PYTHON) -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check uv; }
	@$(UV) sync --frozen --quiet --inexact
	@touch $@

demo: $(READY)  ## run the main job: the quickstart notebook against a fresh store
	@$(RUN) python notebooks/demo.py

test: $(READY)  ## run the tests
	@$(RUN) pytest -n auto --dist loadfile

check: $(READY)  ## lint, types, layers
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@$(RUN) lint-imports

lab: $(READY)  ## JupyterLab on notebooks/
	@$(RUN) jupyter lab notebooks

bench: $(READY)  ## side by side with no gateway and with others; needs gcc
	@$(RUN) python benchmarks/run.py

soak: $(READY)  ## the laws with 3,000 examples each, and a gateway under fire
	@HYPOTHESIS_PROFILE=soak $(RUN) pytest -n auto -m "soak or not soak"

format: $(READY)
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis benchmarks/build benchmarks/.venv
