"""The pipeline's stages: prepare, distill, train, export, evaluate."""
