"""Prepared tweets -> soft training targets."""
