"""The pipeline's stages: prepare, train, export, evaluate."""
