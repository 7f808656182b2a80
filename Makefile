# Every target first builds $(VENV) with all dependencies; `make demo` needs only Python and make.
PYTHON ?= python3
VENV ?= .venv
# A file of pins that replace those of constraints.txt, for another VENV.
PINS ?=
PORT ?= 8000
# Test processes, each with its own servers. More than cores, because many tests wait.
TEST_PROCESSES ?= -n 3
FAULTS := tests/faults tests/integration/events/streams
# Processes and the channel layer; they run on further servers besides the tests marked `redis`.
PROCESSES := $(addprefix tests/integration/,events/management/test_process_events.py \
    jobs/live/test_job_list.py jobs/test_doctor.py)
# Of make soak.
MINUTES ?= 10
DATABASE ?= sqlite
# Words that code, tests and docs do not use; the style rules say why.
BANNED_WORDS := whoever|whomever|somebody|nobody|anybody|strangers?|sign of life|set back
SOURCES := '*.py' '*.lua' '*.js' '*.ts' '*.html' '*.css' '*.md' '*.toml'
MAX_MODULE_LINES := 400
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup demo test test-extended extended soak check check-source bench matrix format clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt $(PINS)
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no $(PYTHON) here. Install Python 3.11 or later, or name one: make PYTHON=python3.12 setup"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "$$($(PYTHON) --version) is too old: 3.11 or later is needed. Name one: make PYTHON=python3.12 setup"; exit 1; }
	@test -x $(BIN)/pip || { echo "Making $(VENV) with $$($(PYTHON) --version) ..."; $(PYTHON) -m venv --clear $(VENV); } || { \
	    echo "Python could not make a virtual environment. On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@awk -F== 'FNR == 1 { file++ } file == 1 { pinned[$$1] } file == 1 || !($$1 in pinned)' \
	    $(PINS) constraints.txt >$(VENV)/constraints.txt
	@echo "Installing the pinned dependencies into $(VENV) (a minute or two the first time) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --prefer-binary \
	    --constraint $(VENV)/constraints.txt --editable '.[dev]' || { \
	    echo; echo "The installation failed; pip says why above. No network: connect and run it again."; \
	    echo "A missing compiler or header (gcc, Python.h): on Debian and Ubuntu, sudo apt install build-essential python3-dev"; \
	    exit 1; }
	@touch $(STAMP)

demo: export JOB_EVENTS_DEMO = 1
demo: setup
	@exec $(BIN)/python manage.py demo --port $(PORT)

# Let the test processes share compiled modules even if the environment disables bytecode.
test test-extended extended: export PYTHONDONTWRITEBYTECODE =

# Then PostgreSQL and the Redis of the machine.
test: setup
	$(BIN)/python -m pytest $(TEST_PROCESSES) -m "not extended"
	$(BIN)/python -m tests.on_other_servers $(TEST_PROCESSES) --ignore tests/faults \
	    -m "(database or redis) and not extended"

# Tests that take long or need another server, all fault tests on PostgreSQL and another Redis,
# Valkey, Redis with TLS, and the short fault tests on older versions of redis-py.
test-extended: extended
	for pins in lowest redis-6; do \
	    $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --upgrade \
	        --target .local/$$pins -r constraints-$$pins.txt && \
	    PYTHONPATH=$(CURDIR)/.local/$$pins $(BIN)/python -m pytest $(TEST_PROCESSES) $(FAULTS) \
	        -m "not extended" || exit 1; \
	done

extended: setup
	$(BIN)/python -m pytest $(TEST_PROCESSES) -m extended
	$(BIN)/python -m tests.on_other_servers $(TEST_PROCESSES) $(FAULTS) -m "database or redis"
	$(BIN)/python -m tests.on_other_servers $(TEST_PROCESSES) tests/integration/jobs \
	    -m "database and extended"
	for server in valkey tls; do \
	    $(BIN)/python -m tests.on_other_servers --$$server $(TEST_PROCESSES) $(PROCESSES) && \
	    $(BIN)/python -m tests.on_other_servers --$$server $(TEST_PROCESSES) tests/integration \
	        -m "redis and not extended" || exit 1; \
	done

# Random faults. Prints its seed; repeat a run with make soak SEED=7. DATABASE is sqlite or postgres.
soak: setup
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --database $(DATABASE) \
	    $(if $(SEED),--seed $(SEED))

# Wording and module size.
check-source:
	@! git grep -nwiE '$(BANNED_WORDS)' -- $(SOURCES)
	@git ls-files 'events/*.py' 'jobs/*.py' 'config/*.py' | grep -v /migrations/ | xargs wc -l | \
	    awk '$$2 != "total" && $$1 > $(MAX_MODULE_LINES) { print $$2 " has " $$1 " lines"; bad = 1 } END { exit bad }'

check: export DJANGO_SECRET_KEY = check-deploy-needs-a-long-key-0123456789-abcdefghijklmnopq
check: setup check-source
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_messages.py --check
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --deploy --fail-level WARNING

bench: setup
	$(BIN)/python -m bench

# The suite on every Python, and on the lowest versions of the dependencies; constraints.txt pins
# Django 5.2 for 3.11 and 6.1 for 3.12 and 3.13.
matrix:
	for version in 3.11 3.12 3.13; do \
	    $(MAKE) test extended PYTHON=python$$version VENV=.venv-$$version || exit 1; \
	done
	$(MAKE) test extended PINS=constraints-lowest.txt VENV=.venv-lowest

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .local
