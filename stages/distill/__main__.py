"""`python -m stages.distill` does what `python -m stages distill` does."""

from stages.__main__ import run_stage

run_stage("distill")
