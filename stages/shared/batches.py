"""Batches of tweets of like length, padded to about the longest one in the batch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tokenizers import Tokenizer
from torch.utils.data import Dataset

from common.progress import Progress

POOL = 50  # batches sorted by length together: enough for little padding, few enough for chance
GRID = 4  # tokens; little padding, yet few different lengths, since a CPU prepares for each
CHUNK = 10_000  # tweets tokenised between two looks at the progress bar

Row = tuple[npt.NDArray[np.int32], float]  # token ids, target: P(disaster)
Batch = dict[str, torch.Tensor]  # input_ids, attention_mask: (rows, tokens); targets: (rows,)


class Tweets(Dataset[Row]):
    """Tweets, tokenised once; four bytes a token, so that millions of them fit in memory."""

    def __init__(self, tweets: pd.DataFrame, tokens: Tokenizer, name: str) -> None:
        ids: list[npt.NDArray[np.int32]] = []
        texts = tweets["text"]
        with Progress(desc=f"tokenise: {name}", total=len(texts), unit=" tweets") as progress:
            for start in range(0, len(texts), CHUNK):
                encoded = tokens.encode_batch_fast(texts[start : start + CHUNK].tolist())
                ids.extend(np.array(e.ids, dtype=np.int32) for e in encoded)
                progress.update(len(encoded))
        self.targets = tweets["target"].to_numpy(np.float32, copy=True)
        self.lengths = np.array([len(row) for row in ids])
        self.ends = np.cumsum(self.lengths)
        self.ids = np.concatenate(ids)

    def __len__(self) -> int:
        """Count the tweets."""
        return len(self.targets)

    def __getitem__(self, index: int) -> Row:
        """Return a tweet's token ids and target."""
        end = self.ends[index]
        return self.ids[end - self.lengths[index] : end], float(self.targets[index])


def batches_of(
    lengths: npt.NDArray[np.int64], size: int, seed: int, epoch: int
) -> list[npt.NDArray[np.int64]]:
    """Return the batches of an epoch: every index once, in at most `size`, of nearly equal length.

    The order is a function of the arguments alone. As transformers' LengthGroupedSampler, except
    that the batches are shuffled too, so that length does not follow a pattern in time, and that
    no batch is a small rest.
    """
    chance = np.random.default_rng([seed, epoch])
    drawn = np.array_split(chance.permutation(len(lengths)), -(-len(lengths) // size))
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(drawn), POOL):
        pool = np.concatenate(drawn[start : start + POOL])
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(np.array_split(by_length, len(drawn[start : start + POOL])))
    return [batches[number] for number in chance.permutation(len(batches))]


def collate(rows: Sequence[Row], pad_id: int, grid: int = GRID) -> Batch:
    """Pad (token ids, target) rows to one batch, as long as the longest on the grid."""
    lengths = np.array([len(ids) for ids, _ in rows])
    width = -(-lengths.max() // grid) * grid
    ids = np.full((len(rows), width), pad_id, dtype=np.int64)
    for row, (tokens, _) in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    mask = np.arange(ids.shape[1]) < lengths[:, None]
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "targets": torch.tensor([target for _, target in rows]),
    }
