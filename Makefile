# The course's commands. Each works as the first one in a fresh clone.

PYTHON ?= python3
LESSONS ?= $(sort $(wildcard notebooks/[0-9]*.ipynb))
SETS ?= 20
START ?= 100000
OUT ?= notebooks/results/replication.csv
VENV := .venv
PINS := constraints.txt
PINNED = $(PINS:%=--constraint %)
RUN := $(VENV)/bin/python
READY := $(VENV)/.installed
SUITABLE := import ensurepip, platform, sys, venv; \
    intel_mac = sys.platform == "darwin" and platform.machine() == "x86_64"; \
    sys.exit(intel_mac or not (3, 11) <= sys.version_info < (3, 15))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
lessons notebooks: export TQDM_DISABLE := 1
lessons notebooks test: export COURSE_STRICT := 1
bench: export OMP_NUM_THREADS ?= 1

.PHONY: help lab check test style types fast fix check-lowest check-newest
.PHONY: lessons notebooks colab handout claims figures site reproduce replicate stress bench stamp

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

lab: $(READY) ## copy the lessons to my-lessons/, open JupyterLab there (LAB_FLAGS are passed on)
	@$(RUN) tools/lab.py $(LAB_FLAGS)

check: style types fast ## while you work: style, types and the fast tests, in two minutes

test: style types $(READY) $(VENV)/.docs ## before you push: style, types, all tests and every lesson, as CI does
	@echo "Testing course_lib and the project (pytest) ..."
	@$(RUN) -m pytest --quiet
	@echo "Validating the lessons (nbval) ..."
	@TQDM_DISABLE=1 $(RUN) -m pytest --quiet --nbval-lax --nbval-current-env $(LESSONS)

style: $(READY) ## only the style of the code
	@echo "Checking the style of the code (ruff) ..."
	@$(RUN) -m ruff check --quiet
	@$(RUN) -m ruff format --quiet --check

types: $(READY) ## only the types of course_lib
	@echo "Checking the types of course_lib (mypy) ..."
	@$(RUN) -m mypy

fast: $(READY) ## only the fast tests
	@echo "Running the fast tests (pytest) ..."
	@$(RUN) -m pytest --quiet -m "not slow"

fix: $(READY) ## mend and format the code as far as ruff can
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

check-lowest: ## the fast tests with the lowest versions that pyproject.toml allows, on Python 3.11
	@mkdir -p build
	@sed -n 's/^ *"\([a-z0-9-]*\)>=\([0-9.]*\).*/\1==\2/p' pyproject.toml > build/lowest.txt
	@$(MAKE) --no-print-directory fast VENV=.venv-lowest PINS=build/lowest.txt PYTHON=python3.11

check-newest: ## the fast tests with the newest versions that pyproject.toml allows
	@rm -f .venv-newest/.installed
	@$(MAKE) --no-print-directory fast VENV=.venv-newest PINS=

lessons: $(READY) ## execute the lessons, write notebooks and HTML pages to build/, print a table
	@$(RUN) tools/lessons.py $(LESSONS)

notebooks: $(READY) ## execute the lessons in place, as they are committed (LESSONS=... for some)
	@$(RUN) tools/lessons.py --write $(LESSONS)

colab: $(READY) ## write lessons that need no second file, for Colab or a course server: build/colab/
	@$(RUN) tools/colab.py $(LESSONS)

handout: $(READY) ## write student copies, no outputs and no solutions in them: build/handout/
	@$(RUN) tools/handout.py $(LESSONS)

claims: $(READY) ## write the table of all claims to notebooks/CLAIMS.md
	@$(RUN) tools/claims_page.py

figures: $(READY) ## draw README's figure and lesson 5's animation afresh: notebooks/figures/
	@$(RUN) tools/teaser.py
	@$(RUN) tools/ball.py

site: $(READY) $(VENV)/.docs ## write the course as pages that need no network: build/site/index.html
	@$(RUN) tools/site_source.py build/site-source
	@$(RUN) -m sphinx --quiet --fail-on-warning --keep-going build/site-source build/site
	@echo "Open build/site/index.html in a browser."

reproduce: $(READY) ## repeat the long measurements on MNIST (two hours), write notebooks/results/
	@$(RUN) tools/reproduce.py

replicate: $(READY) ## every learning claim on other seeds (SETS=20 START=100000 OUT=...; LESSONS=...)
	@$(RUN) tools/replicate.py --sets $(SETS) --start $(START) --out $(OUT) $(LESSONS)

stress: $(READY) ## 52 kills, two hundred kinds of networks, 10,000 generated calls (17 minutes)
	@HYPOTHESIS_PROFILE=stress $(RUN) -m pytest tests/stress tests/generated -s --quiet

bench: $(VENV)/.bench ## measure speed and memory (25 minutes), write build/benchmark.md
	@echo "Measuring speed and memory (25 minutes; leave the machine alone meanwhile) ..."
	@mkdir -p build
	@$(RUN) -m pytest tests/benchmarks --disable-warnings -rs \
	    --benchmark-quiet --benchmark-json=build/benchmark.json
	@$(RUN) tests/benchmarks/report.py build/benchmark.json

stamp: $(READY) ## write the repository's address (REPOSITORY=..., default: remote origin) everywhere
	@$(RUN) tools/stamp.py $(REPOSITORY)

# Without the marker the last attempt did not finish, so the environment is made afresh.
# The course is built with the setuptools that $(PINS) names: hence no isolated build.
$(READY): pyproject.toml $(PINS)
	@for python in $(PYTHON) python3.13 python3.14 python3.12 python3.11 python3 python ""; do \
	    "$$python" -c '$(SUITABLE)' 2>/dev/null && break; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "The course needs Python 3.11 to 3.14 with the modules venv and ensurepip"; \
	    echo "(on Debian and Ubuntu: the package python3-venv). None was found on the PATH."; \
	    echo "For newer Pythons, and for Intel Macs, there is no PyTorch of the version we use."; \
	    echo "Name a Python that lies elsewhere: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; \
	    echo "or read lessons without installing: see README, \"Without make\"."; \
	    exit 1; \
	fi; \
	test -f $@ || { echo "Making $(VENV) with $$python ..."; "$$python" -m venv --clear $(VENV); }
	@rm -f $@
	@echo "Installing the course into $(VENV) (minutes the first time, seconds later) ..."
	@$(RUN) -m pip install --quiet $(PINNED) --upgrade setuptools
	@$(RUN) -m pip install --quiet $(PINNED) --no-build-isolation --editable ".[lab,test]"
	@touch $@

$(VENV)/.docs: $(READY)
	@echo "Installing what the site needs ..."
	@$(RUN) -m pip install --quiet $(PINNED) --no-build-isolation --editable ".[docs]"
	@touch $@

$(VENV)/.bench: $(READY)
	@echo "Installing what the benchmark needs ..."
	@$(RUN) -m pip install --quiet $(PINNED) --no-build-isolation --editable ".[bench]"
	@touch $@
