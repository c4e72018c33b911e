"""Where the stages keep their outputs, from the repository's root; dvc.yaml says the same."""

from pathlib import Path

PREPARED = Path("data/prepared")  # {train,validation,test}.parquet, report.json
TARGETS = Path("data/targets.parquet")  # what to learn of each training tweet: id, target
CHECKPOINT = Path("models/checkpoint")  # torch weights in safetensors, config.json, tokenizer.json
HISTORY = Path("models/training")  # learning curves, by DVCLive; speed/, profile/ beside it
MACHINE = Path("models/speed/machine.json")  # where the training ran, and for how long
CHECKPOINTS = Path("models/checkpoints")  # of a training under way
CLASSIFIER = Path("models/classifier")  # the locked model
PARITY = Path("models/parity.json")  # int8 against fp32
EVALUATION = Path("models/evaluation")  # predictions, plots, slices, mistakes, model card
METRICS = Path("models/metrics.json")  # the figures that experiments are compared by
REPORT = Path("models/report.json")  # the same with intervals and the baseline
