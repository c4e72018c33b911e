"""Scores on Apache Beam: many workers answer the same blocks with the same answers."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, RunInference
from apache_beam.options.pipeline_options import PipelineOptions

from common.errors import InputError
from common.storage import Folder
from locked.classifier import Classifier
from score.blocks import Block, Settings, answer, read_blocks
from score.model import load
from score.run import write

# Beam's default local runner begins with a download.
LOCAL_RUNNERS = {"DirectRunner": "FnApiRunner"}


class Read(beam.DoFn):
    """Yields the blocks of a file that are not finished yet."""

    def __init__(self, settings: Settings, output: Folder) -> None:
        self.settings, self.output = settings, output

    def setup(self) -> None:
        """List the finished blocks."""
        self.finished = self.output.names("blocks")

    def process(self, element: tuple[str, str]) -> Iterator[Block]:
        """Read a file, given by name and fingerprint."""
        for block in read_blocks(*element, self.settings):
            if f"{block.name}.json" not in self.finished:
                yield block


class BlockHandler(ModelHandler[Block, str, Classifier]):
    """Answers and writes blocks; each process has one model, which computes with one thread."""

    def __init__(self, settings: Settings, model: str, output: Folder) -> None:
        super().__init__(max_batch_size=1)
        self.settings, self.model, self.output = settings, model, output

    def load_model(self) -> Classifier:
        """Load the model.

        Raises:
            InputError: it is missing, differs from the run's model, or answers wrongly on this CPU.

        """
        classifier = load(self.model, 1, self.settings.engine)
        if (version := classifier.manifest.version) != self.settings.model:
            raise InputError(
                f"{self.model} has version {version} on a worker, but {self.settings.model} where "
                "the run began. Use the same model in both places"
            )
        return classifier

    def run_inference(
        self,
        batch: Sequence[Block],
        model: Classifier,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterator[str]:
        """Answer and write blocks; yield their names."""
        for block in batch:
            write(block.name, *answer(block, model, self.settings), self.output)
            yield block.name


def make_pipeline(runner: str, flags: list[str]) -> beam.Pipeline:
    """Return an empty pipeline.

    Raises:
        InputError: there is no such runner, or an option is unknown or missing.

    """
    options = PipelineOptions([f"--runner={LOCAL_RUNNERS.get(runner, runner)}", *flags])
    unknown = options.get_all_options(retain_unknown_options=True).keys()
    if unknown := unknown - options.get_all_options().keys():
        raise InputError(f"Beam has no option {', '.join(sorted(unknown))}")
    # Otherwise gRPC connects to local workers through a proxy, and waits for ever.
    for name in ("no_proxy", "no_grpc_proxy"):
        others = os.environ.get(name) or os.environ.get(name.upper()) or ""
        os.environ[name] = ",".join(filter(None, ["localhost,127.0.0.1,::1", others]))
    logging.basicConfig(format="%(message)s")
    # Errors are raised, so they need no log; Dataflow's log has the address of the job.
    for name, level in (("common", "FATAL"), ("portability", "FATAL"), ("dataflow", "INFO")):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(level)
    try:
        return beam.Pipeline(options=options)
    except ValueError as error:
        raise InputError(f"--runner {runner}: {error}") from error


def score(pipeline: beam.Pipeline, fingerprints: dict[str, str], handler: BlockHandler) -> None:
    """Answer and write all blocks that are not written yet, in an empty pipeline.

    Raises:
        InputError: a worker raised one.

    """
    try:
        with pipeline as start:
            (
                start
                | "files" >> beam.Create(list(fingerprints.items()))
                | "blocks" >> beam.ParDo(Read(handler.settings, handler.output))
                | "spread" >> beam.Reshuffle()
                | "answers" >> RunInference(handler)
            )
    except Exception as error:  # each runner raises its own; a worker's error is in its text
        message = f"{type(error).__name__}: {error}"
        pattern = r"\bInputError: (.+?)(?: \[while running .*)?$"
        if match := re.search(pattern, message, re.M):
            raise InputError(match[1]) from error
        raise
