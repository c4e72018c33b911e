"""`python -m stages.train` does what `python -m stages train` does."""

from stages.__main__ import run_stage

run_stage("train")
