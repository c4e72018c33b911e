"""`python -m stages NAME`: the one way to run a stage, with arithmetic as params.yaml has it."""

import importlib
import sys

from reader.errors import run
from stages import exact, params

NAMES = ("prepare", "distill", "train", "export", "evaluate")


def main() -> None:
    """Run the stage that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m stages {{{','.join(NAMES)}}}")
    if params.load().compute.exact:
        exact.hold()
    importlib.import_module(f"stages.{sys.argv[1]}").main()


if __name__ == "__main__":
    run(main)
