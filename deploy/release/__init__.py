"""Builds images, and releases the server on Cloud Run."""
