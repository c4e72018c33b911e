"""The pipeline's stages: prepare, distill, train, export, lock, evaluate."""
