# Each task first makes the environment in .venv, unless it is up to date.
PYTHON ?= python3
READY := .venv/.ready
# A path, because Apple's make 3.81 looks for commands in its own PATH, not in the exported one.
RUN := .venv/bin/python -m
# Stages and launchers find their programs here.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC needs both, and a container's user may have neither.
export HOME ?= /tmp
export LOGNAME ?= $(shell id -un 2> /dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup repository repro serve score monitor demo test check bench cloud deploy clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

repository:
	@git rev-parse --git-dir > /dev/null || { echo 'error: DVC needs git. If it finds no repository here, make one: git init && git add --all && git commit --message start' >&2; exit 1; }

repro: repository $(READY) ## Run the stages that a change affects, and print the metrics
	$(RUN) dvc repro
	$(RUN) dvc metrics show

serve: $(READY) ## Serve the locked model, or VERSION= or STAGE=, over HTTP on port 8080
ifneq ($(STAGE)$(VERSION),)
	@.venv/bin/python -c 'from common import errors, git; errors.run(git.check_complete)'
	rm -rf models/.promoted.tmp
	$(RUN) dvc artifacts get . classifier $(if $(VERSION),--rev $(VERSION),--stage $(STAGE)) --out models/.promoted.tmp
	rm -rf models/promoted && mv models/.promoted.tmp models/promoted
	MODEL_URI=models/promoted $(RUN) serve
else
	$(RUN) serve
endif

score: $(READY) ## Classify every tweet of FROM= (a file, a folder, a bucket) into the folder or bucket TO=
	$(RUN) score $(FROM) $(TO) $(WITH)

monitor: $(READY) ## Report the accuracy of a deployed model, from LOGS=folder (and REVIEWED=)
	$(RUN) monitor $(LOGS) $(if $(REVIEWED),--reviewed $(REVIEWED)) || case $$? in 3|4) ;; *) exit 1 ;; esac # a verdict is not a failure

demo: $(READY) ## Simulate a new event: serve, monitor, and train the model on 50 labels of it too
	$(RUN) examples.event

test: $(READY) ## Run the tests
	$(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

check: $(READY) ## Before a commit: check style, types and configuration files, and run the quick tests
	$(RUN) pre_commit run --all-files
	$(RUN) pytest --numprocesses 2 --dist loadfile -m 'not slow'

bench: $(READY) ## Benchmark preparation, training, serving and scoring against common alternatives
	$(RUN) tests.bench.prepare
	$(RUN) tests.bench.train
	$(RUN) tests.bench.serve
	$(RUN) tests.bench.score

cloud: $(READY) ## Create the resources on Google Cloud: bucket, accounts, roles, secrets
	$(RUN) deploy up

deploy: $(READY) ## Release this commit's server on Cloud Run
	$(RUN) deploy release

clean: ## Remove the environment and caches; data and models stay
	rm -rf .venv build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find common deploy experiments locked monitor reader score serve stages tests -name __pycache__ -type d -exec rm -rf {} +
