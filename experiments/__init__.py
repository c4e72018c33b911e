"""Commands around the pipeline: search for params, report a run, promote and fetch a model."""

from common.commands import check_command

COMMANDS = ("fetch", "promote", "report", "restore", "sweep")
check_command("experiments", *(f"experiments.{name}" for name in COMMANDS))
