"""Trains a commit on Google Cloud: as a job of Vertex AI."""
