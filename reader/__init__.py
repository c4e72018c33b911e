"""Reads any table of tweets, and checks it row by row."""

from common.commands import check_command

check_command("reader")
