"""Commands around the pipeline: report a run, promote a model, restore."""

from common.commands import check_command

COMMANDS = ("promote", "report", "restore")
check_command("experiments", *(f"experiments.{name}" for name in COMMANDS))
