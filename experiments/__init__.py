"""Commands around the pipeline: search for params, promote a model, report a run."""
