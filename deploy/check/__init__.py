"""Checks what clouds read, without an account, and what is in the bucket."""
