"""Answers files of tweets, on one machine or on Beam."""

import sys

# Under `python -m score.run` the package is imported before the module, which would do nothing.
if sys.argv[:1] == ["-m"] and any(word.startswith("score.") for word in sys.orig_argv[1:4]):
    print("error: this module is no command. The command is: python -m score", file=sys.stderr)
    sys.exit(2)
