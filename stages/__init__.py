"""The pipeline's stages: prepare, teach, train, export, evaluate."""
