# Every target first builds $(VENV) with everything in it; `make demo` needs nothing but Python and make.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000
# How the tests are run: by three processes, each with servers of its own, as many tests wait.
TOGETHER ?= -n 3
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test soak check bench matrix format clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no $(PYTHON) here. Install Python 3.11 or later, or name one: make PYTHON=python3.12 setup"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$$($(PYTHON) --version) is too old: 3.11 or later is needed. Name one: make PYTHON=python3.12 setup"; exit 1; }
	@test -x $(BIN)/pip || { echo "Making $(VENV) with $$($(PYTHON) --version) ..."; $(PYTHON) -m venv --clear $(VENV); } || { \
	    echo "Python could not make a virtual environment. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Installing the pinned dependencies into $(VENV) (a minute or two the first time) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --prefer-binary \
	    --constraint constraints.txt --editable '.[dev]' || { \
	    echo; echo "The installation failed; pip says why above. No network: connect and run it again."; \
	    echo "A missing compiler or header (gcc, Python.h): on Debian and Ubuntu, sudo apt install build-essential python3-dev"; \
	    exit 1; }
	@touch $(STAMP)

demo: setup
	@exec $(BIN)/python manage.py demo --port $(PORT)

# Each process would compile the tests anew where Python is told to keep nothing that it compiles.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(BIN)/python -m pytest $(TOGETHER)
	$(BIN)/python -m tests.on_other_servers $(TOGETHER) -m "database or redis"

# Ten minutes of faults, from a seed that it prints: make soak SEED=7
soak: setup
	$(BIN)/python -m tests.faults.soak $(if $(SEED),--seed $(SEED))

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	DJANGO_SECRET_KEY=check-deploy-needs-a-long-key-0123456789-abcdefghijklmnopq DJANGO_DEBUG=0 \
	    $(BIN)/python manage.py check --deploy --fail-level WARNING

bench: setup
	$(BIN)/python -m bench

# The suite on every Python at hand; 3.11 takes Django 5.2, 3.12 and 3.13 take 6.1 (constraints.txt).
matrix:
	for version in 3.11 3.12 3.13; do \
	    $(MAKE) test PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	done

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .local
