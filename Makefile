# make demo | test | test-slow | test-all | check | docs: each sets up .venv on its first call, and again when pyproject.toml has changed.
PYTHON ?= python3
RUN := .venv/bin/python -m

# Threads of OpenMP that wait sleep soon, where other work shares the cores (weit_rl/common/cpu_cores.py); not over a user's word.
ifeq ($(OMP_WAIT_POLICY)$(KMP_BLOCKTIME),)
export GOMP_SPINCOUNT ?= 10000
endif

.PHONY: demo test test-slow test-all check docs

# A process of pytest that ends is told at once: xdist may wait for ever for the tests of one that was replaced.
PYTEST := OMP_NUM_THREADS=1 $(RUN) pytest -n 2 --max-worker-restart 0

demo: .venv/.installed
	$(RUN) weit_rl.train env=HalfCheetah size=small

# The process that is done first takes tests from the other, so that both end together.
test: .venv/.installed-test
	$(PYTEST) --dist worksteal -m "not slow"

# Stopped and resumed runs, processes, launchers, the site, compilers, a fresh wheel, the rest of large products.
# A file stays in one process: two would start two clusters.
test-slow: .venv/.installed-test
	$(PYTEST) --dist loadfile -m slow

test-all: test test-slow

# mypy knows no package-dir: it reads weit_rl as it is once installed, put together from links.
check: .venv/.installed-test
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	rm -rf .venv/tree && mkdir -p .venv/tree/weit_rl
	cd .venv/tree/weit_rl && ln -s ../../../weit_rl/* ../../../envs ../../../agents ../../../configs .
	cd .venv/tree && ../bin/python -m mypy --config-file ../../pyproject.toml --cache-dir ../../.mypy_cache -p weit_rl

# All modules are imported for their docstrings, so everything optional is needed too.
docs: .venv/.installed-test
	.venv/bin/python docs/site/build.py

.venv/bin/python:
	$(PYTHON) -m venv --upgrade-deps .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(RUN) pip install -e .
	touch $@

# With the tools of "check", but without the large extras of "dev".
.venv/.installed-test: pyproject.toml .venv/.installed
	$(RUN) pip install -e ".[test]" "setuptools>=77" "ruff>=0.6" "mypy>=1.11"
	touch $@
