"""`python -m stages.evaluate` does what `python -m stages evaluate` does."""

from stages.__main__ import run_stage

run_stage("evaluate")
