"""Refuses `python -m MODULE` if the module is no command."""

import sys


def check_command(package: str, *commands: str) -> None:
    """Exit with status 2 if Python is starting a module of the package that is no command.

    Such a module would do nothing and succeed. Python imports the package before the module.
    """
    if sys.argv[:1] != ["-m"]:  # Python sets this while it looks for the module to start
        return
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if module.partition(".")[0] == package and module.removesuffix(".__main__") not in commands:
        names = ", ".join(f"python -m {command}" for command in commands)
        remedy = f"the commands are: {names}" if names else "README.md names the commands"
        sys.stderr.write(f"error: {module} is no command; {remedy}\n")
        sys.exit(2)
