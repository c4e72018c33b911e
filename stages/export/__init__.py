"""A checkpoint -> an int8 network."""
