"""Builds images and puts the server in use: on Cloud Run, or on a Vertex AI endpoint."""
