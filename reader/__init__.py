"""Reads any table of tweets, and checks it row by row."""
