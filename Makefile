# Everything a newcomer needs: `make book` and `make test`. The rest are thin conveniences.
# Each target sets up the virtual environment first if it is missing or the lock has changed.

PYTHON ?= python3
FILE ?= params/quick.yaml
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile  # one process a core; each needs 2 GB

.PHONY: help book check-book pdf test test-fast coverage lab notebook lint lock clean hooks
.DEFAULT_GOAL := help

help:
	@echo "make book                 train what is missing, execute every notebook, build the book"
	@echo "make book FILE=params/smoke.yaml    the same with other parameters"
	@echo "make test                 run the tests"
	@echo "make pdf                  print the built book as one PDF, pack its notebooks"
	@echo "make check-book           open every page of the built book in headless Chromium"
	@echo "make test-fast            those that train nothing"
	@echo "make coverage             all tests, and which lines they reach (an eighth slower)"
	@echo "make lab                  open the notebooks in JupyterLab"
	@echo "make notebook NAME=...    execute one notebook, e.g. NAME=doam FILE=params/smoke.yaml"
	@echo "make lint                 style, imports, spelling, stripped notebooks"
	@echo "make lock                 resolve requirements.lock again from pyproject.toml (needs uv)"
	@echo "make hooks                run the lint before each commit (pre-commit)"
	@echo "make clean                remove what was built (runs/ and datasets/ are kept)"

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "doam-book needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@test -x $(BIN)/python || { echo "Making the virtual environment $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing from requirements.lock (about three minutes, 6 GB: torch brings its GPU libraries)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # on every core; pip would take one
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

book: $(READY)
	@$(BIN)/doam book -f $(FILE)

pdf: $(READY)
	@$(BIN)/python scripts/make_pdf.py

check-book: $(READY)
	@$(BIN)/python scripts/check_book.py

test: $(READY)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)

coverage: $(READY)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term:skip-covered

test-fast: $(READY)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow" --hypothesis-profile=fast

lab: $(READY)
	@JUPYTER_CONFIG_PATH=.jupyter $(BIN)/jupyter lab

notebook: $(READY)
	@test -n "$(NAME)" || { echo "say which: make notebook NAME=doam"; exit 1; }
	@mkdir -p build/notebooks/$(dir $(NAME))
	@$(BIN)/papermill book/$(NAME).ipynb build/notebooks/$(NAME).ipynb -f $(FILE) --cwd book --no-progress-bar --log-output
	@echo "Executed copy: build/notebooks/$(NAME).ipynb"

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/codespell
	@$(BIN)/nbstripout --verify $$(git ls-files '*.ipynb')

lock:
	uv pip compile pyproject.toml --extra test --extra cluster --universal --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --python-version 3.11 --quiet -o requirements.lock

hooks: $(READY)
	@$(BIN)/pre-commit install

clean:
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
