# Earmark: `make help` lists what can be done here.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8501
SERVE  ?= 1
JOBS   ?= 2
STORE  ?= .demo/store
BASE   ?=
# Pip's words for installing torch. On Linux the default is a build with CUDA, several gigabytes; to take the CPU build,
# add the index that pytorch.org names for it:  make demo TORCH="torch==2.13.0 --index-url <CPU index>"
TORCH  ?= torch==2.13.0
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test check base screenshot docs clean

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## the main job on the embedded corpus, then the dashboard on http://localhost:8501 (SERVE=0: only the findings)
	@$(BIN)/earmark demo --store $(STORE) --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve,)

test: $(VENV)/.dev  ## the tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

check: $(VENV)/.dev  ## ruff, mypy --strict and the import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

base: $(VENV)/.demo  ## make the packaged base checkpoints anew from synthetic speech (minutes; one: BASE=ctc-tiny)
	@$(BIN)/python -m earmark.demo.base $(BASE)

docs: $(VENV)/.dev  ## write the references of SQL, files and the command line and the Dockerfile anew
	@$(BIN)/earmark schema --markdown > docs/sql.md
	@$(BIN)/earmark fields --markdown > docs/files.md
	@$(BIN)/typer earmark.cli utils docs --name earmark --output docs/cli.md >/dev/null
	@$(BIN)/python -c 'from lineage.machine.rebuild import dockerfile; print(dockerfile(), end="")' > Dockerfile

screenshot: $(VENV)/.dev  ## take the README's picture of the demo's store anew
	@$(BIN)/python docs/screenshot.py $(STORE) docs/dashboard.png

clean:  ## remove the environment and the demo's store
	rm -rf $(VENV) .demo build *.egg-info

$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Earmark needs Python 3.11 or newer: make demo PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing torch (once; on Linux see the note on TORCH in the Makefile)"
	@$(PIP) $(TORCH)
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "installing Earmark and what it needs"
	@$(PIP) --editable '.[all,demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing what the tests need"
	@$(PIP) --editable '.[dev]'
	@touch $@
