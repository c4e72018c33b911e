"""Compares the tweets that a deployed model classifies with its held-out tweets."""

from common.commands import check_command

check_command("monitor", "monitor")
