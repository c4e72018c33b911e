"""Helpers for all packages; no result of the pipeline depends on them."""
