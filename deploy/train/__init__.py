"""Trains a commit on Google Cloud: on VMs, or as a job of Vertex AI."""
