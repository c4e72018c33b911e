"""`python -m stages.export` does what `python -m stages export` does."""

from stages.__main__ import run_stage

run_stage("export")
