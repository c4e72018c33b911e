"""Prepared tweets -> softer training targets."""
