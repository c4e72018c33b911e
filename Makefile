# Every task sets up what it needs; nothing is done twice.
PYTHON ?= python3
READY := .venv/.ready
BEAM := .venv-beam/.ready
# By its path: make 3.81, which is Apple's, looks for a command in its own PATH alone.
RUN := .venv/bin/python -m
# Here stages and launchers find theirs.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# DVC asks for both, and a container's user may have neither.
export HOME ?= /tmp
export LOGNAME ?= $(shell id -un 2> /dev/null)

.DEFAULT_GOAL := help
.PHONY: help setup repository repro verify serve score report monitor watch-demo promote cloud doctor train-cloud score-cloud images deploy back check-deploy test test-oldest check lint bench clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment in .venv

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "error: Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Apache Beam goes with older packages than all else does.
$(BEAM): pyproject.toml score/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "error: workers have Python 3.11, this is " + sys.version.split()[0] + "; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet --constraint score/constraints.txt --editable '.[beam]'
	touch $@

repository:
	@git rev-parse --git-dir > /dev/null || { echo 'error: DVC needs git. If it finds no repository here, make one: git init && git add --all && git commit --message start' >&2; exit 1; }

repro: repository $(READY) ## Run the pipeline where something changed, and print the metrics
	$(RUN) dvc repro
	$(RUN) dvc metrics show

verify: repository $(READY) ## Make all of dvc.lock again in a temporary clone, and compare
	$(RUN) experiments.verify

serve: $(READY) ## Answer HTTP requests from the locked model, or from VERSION= or STAGE=, on port 8080
ifneq ($(STAGE)$(VERSION),)
	$(RUN) experiments.fetch $(or $(VERSION),$(STAGE))
	MODEL_URI=models/promoted $(RUN) serve
else
	$(RUN) serve
endif

score: $(READY) ## Answer every tweet of FROM= (a file, a folder, a bucket) in the folder or bucket TO=
	$(RUN) score $(FROM) $(TO) $(WITH)

report: $(READY) ## Write models/report.html: this run, or its difference to BASE=main
	$(RUN) experiments.report $(BASE)

monitor: $(READY) ## Say of LOGS=folder (FEEDBACK=, REVIEWED=) whether a deployed model still answers well
	$(RUN) monitor $(LOGS) $(if $(FEEDBACK),--feedback $(FEEDBACK)) $(if $(REVIEWED),--reviewed $(REVIEWED)) || case $$? in 3|4) ;; *) exit 1 ;; esac # a verdict, and no failure

watch-demo: $(READY) ## Serve tweets that change half-way, and open the page that says so
	$(RUN) monitor.demo

promote: $(READY) ## Give STAGE=prod to this commit's model, or to VERSION=v0.0.1
	$(RUN) experiments.promote $(or $(STAGE),prod) $(if $(VERSION),--version $(VERSION)) $(if $(FRESH),--fresh $(FRESH))

cloud: $(READY) ## Make what Google Cloud needs to hold: bucket, accounts, roles, secrets
	$(RUN) deploy.setup up

doctor: $(READY) ## Explain whether data and models can be shared over Google Cloud Storage
	$(RUN) deploy.check.doctor

train-cloud: $(READY) ## Train this commit on a T4: a spot VM, or ON=vertex
	$(RUN) deploy.train $(if $(ON),--on $(ON)) $(if $(HOURS),--hours $(HOURS))

score-cloud: $(READY) $(BEAM) ## Answer the tweets of FROM=gs://... in TO=gs://... on Dataflow
	$(RUN) deploy.score $(FROM) $(TO) $(WITH)

images: $(READY) ## Build and push the images of this commit on Cloud Build
	$(RUN) deploy.release.images

deploy: $(READY) ## Put this commit's server in use on Cloud Run, or ON=vertex, step by step
	$(RUN) deploy.release $(if $(ON),--on $(ON))

back: $(READY) ## Give all traffic to the revision before
	$(RUN) deploy.release --back

check-deploy: $(READY) ## Check what clouds and GitHub read, without an account
	$(RUN) deploy.check

test: $(READY) ## Run the tests
	export DISASTER_TWEETS_TESTS=$$(mktemp -d); \
	trap 'rm -rf "$$DISASTER_TWEETS_TESTS"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	$(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not alone' && \
	$(RUN) pytest -m alone

test-oldest: $(READY) ## Run the server's tests on the oldest packages that it allows
	$(RUN) uv venv --quiet --clear .venv-oldest
	$(RUN) uv pip install --quiet --python .venv-oldest --resolution lowest-direct '.[serve]'
	SERVE_PYTHON=$(CURDIR)/.venv-oldest/bin/python $(RUN) pytest tests/serve

check: lint ## Check style and types, and run the quick tests, as before a commit
	$(RUN) pytest -m 'not slow'

lint: $(READY) ## Check style and types
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy

bench: $(READY) ## Measure preparation, training, serving and scoring beside usual ways of doing them
	$(RUN) pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(RUN) tests.bench.prepare
	$(RUN) tests.bench.train
	$(RUN) tests.bench.serve
	$(RUN) tests.bench.score

clean: ## Remove the environment and caches; data and models stay
	rm -rf .venv .venv-beam .venv-oldest build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find common deploy experiments locked monitor reader score serve stages tests -name __pycache__ -type d -exec rm -rf {} +
