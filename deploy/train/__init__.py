"""Trains a commit as a job of Vertex AI."""
