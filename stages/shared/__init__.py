"""Modules that several stages use."""
