"""Commands around the pipeline: search for params, report a run, promote and fetch a model."""
