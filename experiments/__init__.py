"""Commands around the pipeline: search for params, report a run, promote and fetch a model."""

import sys

COMMANDS = ("fetch", "promote", "report", "restore", "sweep", "verify")

if sys.argv[0] == "-m":  # Python is looking for the module to run: `python -m experiments...`
    name = sys.orig_argv[sys.orig_argv.index("-m") + 1].removeprefix("experiments.")
    if name not in COMMANDS:
        sys.stderr.write(
            f"usage: python -m experiments.COMMAND --help, with one of {', '.join(COMMANDS)}\n"
        )
        sys.exit(2)
