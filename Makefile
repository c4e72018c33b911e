# Every task sets up what it needs; nothing is done twice.
PYTHON ?= python3
VENV := $(CURDIR)/.venv
READY := $(VENV)/.ready
export PATH := $(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro serve report promote cloud doctor train-cloud images deploy back check-deploy test check lint bench clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

repro: $(READY) ## Run the pipeline where something changed, and print the metrics
	dvc repro
	dvc metrics show

serve: $(READY) ## Answer HTTP requests from the locked model, or from VERSION= or STAGE=, on port 8080
ifneq ($(STAGE)$(VERSION),)
	python -m experiments.fetch $(or $(VERSION),$(STAGE))
	MODEL_URI=models/promoted python -m serve
else
	python -m serve
endif

report: $(READY) ## Write models/report.html: this run, or its difference to BASE=main
	python -m experiments.report $(BASE)

promote: $(READY) ## Give STAGE=prod to this commit's model, or to VERSION=v0.0.1
	python -m experiments.promote $(or $(STAGE),prod) $(if $(VERSION),--version $(VERSION))

cloud: $(READY) ## Make what Google Cloud needs to hold: bucket, accounts, roles, secrets
	python -m deploy.setup up

doctor: $(READY) ## Explain whether data and models can be shared over Google Cloud Storage
	python -m deploy.doctor

train-cloud: $(READY) ## Train this commit on a T4: a spot VM, or ON=vertex
	python -m deploy.train $(if $(ON),--on $(ON)) $(if $(HOURS),--hours $(HOURS))

images: $(READY) ## Build and push both images of this commit on Cloud Build
	python -m deploy.images

deploy: $(READY) ## Put this commit's server in use on Cloud Run, or ON=vertex, step by step
	python -m deploy.$(if $(filter vertex,$(ON)),endpoint,release)

back: $(READY) ## Give all traffic to the revision before
	python -m deploy.release --back

check-deploy: $(READY) ## Check what clouds and GitHub read, without an account
	python -m deploy.check

test: $(READY) ## Run the tests
	export DISASTER_TWEETS_TESTS=$$(mktemp -d); \
	trap 'rm -rf "$$DISASTER_TWEETS_TESTS"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not alone' && \
	pytest -m alone

check: lint ## Check style and types, and run the quick tests, as before a commit
	pytest -m 'not slow'

lint: $(READY) ## Check style and types
	ruff check
	ruff format --check
	mypy

bench: $(READY) ## Measure preparation, training and serving beside usual ways of doing them
	pip install --quiet --constraint constraints.txt --editable '.[bench]'
	python -m tests.bench.prepare
	python -m tests.bench.train
	python -m tests.bench.serve

clean: ## Remove the environment and caches; data and models stay
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find deploy experiments stages serve tests -name __pycache__ -type d -exec rm -rf {} +
