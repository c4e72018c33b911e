"""Compares what a deployed model answers with what it was judged on."""

from common.commands import check_command

check_command("monitor", "monitor")
