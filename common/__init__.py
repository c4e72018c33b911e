"""Helpers for all packages; no output of the pipeline depends on them."""

from common.commands import check_command

check_command("common")
