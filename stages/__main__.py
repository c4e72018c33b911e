"""`python -m stages NAME` runs a stage with the arithmetic that params.yaml sets."""

import importlib
import sys

from common.errors import run
from stages.shared import arithmetic

NAMES = ("prepare", "distill", "train", "export", "evaluate")


def run_stage() -> None:
    """Run the stage that the command line names."""
    params = importlib.import_module("stages.params").load()
    if params.compute.exact:
        arithmetic.restrict()  # before NumPy or torch is loaded
    importlib.import_module(f"stages.{sys.argv[1]}.stage").main(params)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        print(f"usage: python -m stages {{{','.join(NAMES)}}}", file=sys.stderr)
        sys.exit(2)
    run(run_stage)
