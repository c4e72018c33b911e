"""Prepared tweets and their targets -> a fine-tuned checkpoint."""
