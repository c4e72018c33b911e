"""`python -m stages.prepare` does what `python -m stages prepare` does."""

from stages.__main__ import run_stage

run_stage("prepare")
