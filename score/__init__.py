"""Answers files of tweets, on one machine or on Beam."""
