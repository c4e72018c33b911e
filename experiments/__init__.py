"""Commands around the pipeline: report a run, promote and fetch a model."""

from common.commands import check_command

COMMANDS = ("fetch", "promote", "report", "restore")
check_command("experiments", *(f"experiments.{name}" for name in COMMANDS))
