"""`python -m stages.lock` does what `python -m stages lock` does."""

from stages.__main__ import run_stage

run_stage("lock")
