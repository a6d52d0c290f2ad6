# make PYTHON=/path/to/python3 chooses the interpreter.
export PYTHON
BIN = .venv/bin

.PHONY: help demo quick test lint types unit regen check-generated update-description test-data bench docs frameworks matrix soak lock screenshot format clean

help:
	@echo "make demo             a tour over real sockets, against the sandbox that this project ships"
	@echo "make quick            lint, types and the tests that a change usually needs"
	@echo "make test             everything that CI runs"
	@echo "make regen            generate the client from openapi/ again"
	@echo "make update-description [FILE=new.yaml] [KEEP=1]"
	@echo "                      take in Brex's new description: what changed, generate, does the facade fit; without FILE"
	@echo "                      it is fetched; KEEP=1 puts the new files in place even where the facade does not fit"
	@echo "make test-data        renew tests/data when src/ relies on something new in the description"
	@echo "make check-generated  fail when generated/ is not what openapi/ gives"
	@echo "make bench            measure the cost of a call, of the import, and of reading records"
	@echo "make docs             build the documentation site into build/docs"
	@echo "make soak             10,000 cancellations at random in each of six ways, bursts of 80 clients, many more"
	@echo "                      examples of the states, 100,000 records,"
	@echo "                      and a fleet: 200 accounts under 30 kills, then 5,000 accounts"
	@echo "make frameworks       the pages on tables, web frameworks and job queues, against the real ones"
	@echo "make matrix           the tests on every Python that is here, with the newest and the lowest dependencies"
	@echo "make screenshot       draw docs/demo.svg anew, from a real run of the demo"
	@echo "make format           format the code and fix what ruff can"
	@echo "make lock             resolve requirements/*.txt anew (needs uv)"

demo: .venv/made-for-demo
	@$(BIN)/brex-accounting demo

test: lint types check-generated unit

# What a change usually needs. The rest starts processes, generates code, builds the site, or takes a while for another reason.
SLOW = commands sandbox/test_schemathesis.py sandbox/test_server.py \
  $(addsuffix .py, $(addprefix test_, cli connections consent demo description_changes description_idioms description_refused \
  description_revisions description_simplified docs fit fleet fleet_example fleet_processes network oauth2_many \
  oauth2_processes oauth2_slow outage packaging pgbouncer postgres postgres_outage pytest_plugin regen set_up soak \
  update_description webhook_service worker_example)) worker/test_deaths.py worker/test_soak.py
quick: lint types
	$(BIN)/python -m pytest --no-cov -q tests $(addprefix --ignore=tests/,$(SLOW))

lint: .venv/made-for-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell

types: .venv/made-for-tests
	$(BIN)/mypy
	$(BIN)/pyright
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/pyright --verifytypes brex_accounting --ignoreexternal > .pyright-types.txt || { cat .pyright-types.txt; exit 1; }

unit: .venv/made-for-tests
	$(BIN)/python -m pytest

check-generated:
	scripts/check_generated.sh

regen:
	scripts/regen.sh

update-description:
	@scripts/update_description.sh $(if $(KEEP),--keep) $(if $(FILE),"$(FILE)")

test-data: .venv/made-for-tests
	@$(BIN)/python -m scripts.test_data

soak: .venv/made-for-tests
	SOAK=10000 $(BIN)/python -m pytest tests/test_soak.py -n0 --no-cov --timeout=600
	SOAK=10000 $(BIN)/python -m pytest tests/sandbox tests/test_oauth2.py tests/test_oauth2_states.py tests/test_limits.py \
	  tests/test_outage.py tests/test_report_all.py tests/worker/test_machine.py --no-cov --timeout=600
	RECORDS=100000 $(BIN)/python -m pytest tests/test_records.py -k memory -n0 --no-cov
	KILLS=200 $(BIN)/python -m pytest tests/worker/test_deaths.py -k random -n0 --no-cov --timeout=900
	RECORDS=100000 $(BIN)/python -m pytest tests/worker/test_soak.py -n0 --no-cov --timeout=1800
	ACCOUNTS=1000 $(BIN)/python -m pytest tests/test_oauth2_many.py -n0 --no-cov -s
	SOAK=1 $(BIN)/python -m pytest tests/test_fleet_processes.py -n0 --no-cov -s

bench: .venv/made-for-tests
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/clients.py
	@test -d .venv-generator || scripts/check_generated.sh
	$(BIN)/python benchmarks/records.py
	$(BIN)/python benchmarks/exports.py

docs: .venv/made-for-tests
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --fresh-env --builder html docs build/docs
	@echo "The site is in build/docs: open build/docs/index.html"

frameworks: .venv/made-for-tests .venv/made-for-frameworks
	$(BIN)/python -m pytest -n0 --no-cov docs/howto

# For another interpreter, put its folder on the PATH.
matrix: .venv/made-for-matrix
	$(BIN)/nox --sessions newest lowest

screenshot: .venv/made-for-demo
	@$(BIN)/python scripts/screenshot.py

format: .venv/made-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Hashes and names only: a lock must not say where it was downloaded from.
LOCK = uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
lock:
	$(LOCK) pyproject.toml --extra sandbox --extra cli --group demo -o requirements/demo.txt
	$(LOCK) pyproject.toml --extra sandbox --extra cli --extra aiohttp --extra postgres --extra fleet --group dev -o requirements/dev.txt
	$(LOCK) --group frameworks --constraint requirements/dev.txt -o requirements/frameworks.txt
	$(LOCK) --group matrix -o requirements/matrix.txt
	$(LOCK) requirements/generator.in -o requirements/generator.txt

clean:
	rm -rf .venv .venv-generator build dist .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/made-for-demo .venv/made-for-tests .venv/made-for-matrix .venv/made-for-frameworks: FORCE
	@scripts/venv.sh $(@:.venv/made-for-%=%)

FORCE:
