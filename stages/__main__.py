"""`python -m stages NAME`: the one way to run a stage, with arithmetic as params.yaml has it."""

import importlib
import sys

from common.errors import run
from stages.shared import exact

NAMES = ("prepare", "distill", "train", "export", "lock", "evaluate")


def run_stage(name: str) -> None:
    """Run a stage; end the process with a plain message where its input is wrong."""

    def stage() -> None:
        params = importlib.import_module("stages.params").load()
        if params.compute.exact:
            exact.hold()  # before a library that computes is loaded
        importlib.import_module(f"stages.{name}.stage").main(params)

    run(stage)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        print(f"usage: python -m stages {{{','.join(NAMES)}}}", file=sys.stderr)
        sys.exit(2)
    run_stage(sys.argv[1])
