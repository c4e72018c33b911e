"""A checkpoint -> the locked model."""
