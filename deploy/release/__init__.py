"""Builds images and puts the server in use: on Cloud Run."""
