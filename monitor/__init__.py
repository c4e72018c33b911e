"""Compares a deployed model's traffic with its held-out tweets."""

from common.commands import check_command

check_command("monitor", "monitor")
