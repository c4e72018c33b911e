"""Compares what a deployed model answers with what it was judged on."""

import sys

# `python -m monitor.review` imports the package first; then the module alone would do nothing.
modules = [word.removeprefix("monitor.") for word in sys.orig_argv[1:4] if "monitor." in word]
if sys.argv[:1] == ["-m"] and modules and modules[0] not in ("demo", "__main__"):
    command = "python -m monitor" + f" {modules[0]}" * (
        modules[0] in ("report", "review", "harvest")
    )
    print(f"error: this module is no command. The command is: {command}", file=sys.stderr)
    sys.exit(2)
