# The study's commands; `make` alone lists them. Every path may hold spaces except those in TESTS.
VENV ?= .venv
STUDY ?= studies/default.yaml
JOBS ?= all
TESTS ?= tests
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=

# The environment's programs come first on PATH, since Snakemake and papermill start others by name.
python = PATH="$$(cd "$(VENV)/bin" && pwd):$$PATH" "$(VENV)/bin/python"

.DEFAULT_GOAL := help
.PHONY: help install study test benchmark subjects lab clean

help: ## list these commands
	@echo 'Commands:'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo 'Options, as in "make study STUDY=studies/recorded.yaml JOBS=2":'
	@echo '  VENV=FOLDER        the virtual environment (.venv)'
	@echo '  PYTHON=PROGRAM     the interpreter that makes it (the first of python3, python3.13, 3.12, 3.11 that fits)'
	@echo '  STUDY=FILE         the study to run (studies/default.yaml)'
	@echo '  JOBS=NUMBER        how many cores it uses (all)'
	@echo '  TESTS="FILE ..."   the tests to run (tests)'
	@echo '  PYTEST_ARGS="..."  more for pytest, such as "-m '"'not slow'"'"'
	@echo '  BENCHMARK_ARGS=... more for the benchmark, such as --quick'

install: ## make the virtual environment, or bring it up to date; the commands below do so by themselves
	@sh workflow/setup.sh "$(VENV)"

study: install ## run a study from corpora to report; a second call does only what is missing or out of date
	$(python) -m rationales.study run "$(STUDY)" --jobs "$(JOBS)"

# Two processes, a file each at a time, one thread each: the tests are many small models and wait for nobody.
test: install ## run the tests
	OMP_NUM_THREADS=1 $(python) -m pytest --numprocesses 2 --dist loadfile $(TESTS) $(PYTEST_ARGS)

benchmark: install ## time the engine beside other tools and refresh benchmarks/, some ten minutes on two quiet cores
	$(python) -m benchmarks.run $(BENCHMARK_ARGS)

subjects: install ## make the embedded subjects again, in the place of the shipped ones (over an hour on two cores)
	$(python) -m rationales.runner notebook 02_embedded_subjects data/runs/subjects.ipynb \
		'{"conversations": 0, "texts": 0, "output": "lib/rationales/subjects/embedded-checkpoints"}'

lab: install ## open the notebooks in JupyterLab
	$(python) -m jupyterlab

clean: ## remove the results of runs (data/runs) and caches; downloads, trained models and the environment stay
	rm -rf data/runs .snakemake .pytest_cache .ruff_cache .hypothesis build lib/rationales.egg-info
	find . -name .git -prune -o -path ./.venv -prune -o -path ./data -prune -o \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
