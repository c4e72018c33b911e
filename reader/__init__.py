"""Reads tables of tweets in any format, and checks them row by row."""

from common.commands import check_command

check_command("reader")
