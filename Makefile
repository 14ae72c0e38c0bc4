# make train      install, then a sparse task whose world changes with every episode: PPO alone for 400,000 steps, PPO with
#                 counts until it is solved, and a video of three episodes
# make test       install, then run the fast tests (minutes)
# make test-slow  install, then run the tests that learn (tens of minutes)
# make test-extras  install the other extras too, then run the tests that need them
# make check      everything that must be clean before a commit: format, lint, types, import contract, fast tests;
#                 names the ten slowest tests
# make soak       kill hundreds of training processes and compare what they leave with uninterrupted runs (an hour; may be
#                 interrupted and started again)
# make fuzz       15,000 bad inputs: configs, command lines, files of runs, results (two hours; may be interrupted and
#                 started again)
# make docs       the documentation as a site, in build/site; warnings are errors
# make test-docs  build it, follow its links, open its pages and a report in headless Chromium, and take screenshots
# make results    write the tables and draw the pictures of README and docs anew, from the committed result files
# make test-lowest  the fast tests on the lowest versions that pyproject.toml allows
# make clean      remove the virtual environments
#
# Another interpreter: make train PYTHON=python3.12 (3.11 to 3.13)

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
LOWEST := .venv-lowest/bin

# One thread a process: two test processes share the machine, and results do not depend on the number of cores.
export OMP_NUM_THREADS ?= 1
PYTEST := python -m pytest -n 2 --dist worksteal

# `make test` takes five to six minutes on two cores, the install aside. What takes longer has a target of its own, and
# at most half a minute of it is part of `make test`.
FAST := $(PYTEST) -m "not slow"

EXTRAS := dev,worlds,report,video,tune,onnx,look
OTHER_EXTRAS := benchmarks,notebooks,wandb,mlflow,cluster,docs

.PHONY: docs test-docs fuzz soak train test test-slow test-extras check results format lint test-lowest install clean

train: $(STAMP)
	$(BIN)/rlkit train quickstart_plain
	$(BIN)/rlkit train quickstart
	$(BIN)/rlkit plot runs/quickstart-seed0 runs/quickstart_plain-seed0 --out runs/quickstart.png
	@$(BIN)/rlkit evaluate runs/quickstart-seed0 --episodes 3 --set evaluation.num_envs=1 --out runs/quickstart-video.json --video runs/quickstart.mp4 --video-episodes 3
	@echo "both curves: runs/quickstart.png; the trained agent in three new layouts: runs/quickstart.mp4"

test: $(STAMP)
	$(BIN)/$(FAST)

test-slow: $(STAMP)
	$(BIN)/$(PYTEST) -m slow

test-extras: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[$(EXTRAS),$(OTHER_EXTRAS)]'
	rm -rf rlkit.egg-info
	$(BIN)/$(PYTEST) -m extra

soak: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m helpers.soak

fuzz: $(STAMP)
	PYTHONPATH=tests $(BIN)/python -m helpers.fuzz

check: lint
	$(BIN)/$(FAST) --durations=10

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[$(EXTRAS),docs]'
	rm -rf rlkit.egg-info
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -c docs . build/site

test-docs: docs
	$(BIN)/python docs/browse.py build/site build/screenshots

results: $(STAMP)
	$(BIN)/python docs/worlds.py
	$(BIN)/python docs/gallery.py
	$(BIN)/python docs/redraw.py README.md docs agents

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

# No build isolation: the build then uses the pinned setuptools too, and needs no second download.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) .ci/check_python.py || { echo "make: no usable Python; name one with PYTHON=, as in: make train PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt setuptools
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-build-isolation -e '.[$(EXTRAS)]'
	rm -rf rlkit.egg-info  # left by the build; Python would read entry points from it, and it is never brought up to date
	touch $@

test-lowest:
	@$(PYTHON) .ci/check_python.py || { echo "make: no usable Python; name one with PYTHON=, as in: make test-lowest PYTHON=python3.11" >&2; exit 1; }
	test -x $(LOWEST)/python || $(PYTHON) -m venv .venv-lowest
	$(LOWEST)/python .ci/lowest.py > .venv-lowest/constraints.txt
	$(LOWEST)/python -m pip install --quiet -c .venv-lowest/constraints.txt setuptools
	$(LOWEST)/python -m pip install --quiet -c .venv-lowest/constraints.txt --no-build-isolation -e '.[worlds,report,video,look]' \
		pytest pytest-xdist hypothesis
	$(LOWEST)/$(FAST)

clean:
	rm -rf .venv .venv-lowest
