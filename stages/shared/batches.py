"""Batches of tweets of similar length, padded to about the longest one in the batch."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tokenizers import Tokenizer

from common.progress import Progress

POOL = 50  # batches sorted by length together: little padding, and yet a random order
GRID = 4  # tokens; little padding, and yet few lengths, because a CPU prepares for each
CHUNK = 10_000  # tweets tokenised between two updates of the progress bar

Rows = npt.NDArray[np.int64]  # indices of tweets
Batch = dict[str, torch.Tensor]  # input_ids, attention_mask: (rows, tokens); targets: (rows,)


class Tweets:
    """Tokenised tweets with their targets, P(disaster); four bytes a token."""

    def __init__(self, tweets: pd.DataFrame, tokenizer: Tokenizer, name: str) -> None:
        unpadded = Tokenizer.from_str(tokenizer.to_str())
        unpadded.no_padding()
        self.pad_id: int = dict(tokenizer.padding or {})["pad_id"]
        self.ids: list[npt.NDArray[np.int32]] = []
        texts = tweets["text"].tolist()
        with Progress(desc=f"tokenise: {name}", total=len(texts), unit=" tweets") as progress:
            for start in range(0, len(texts), CHUNK):
                encoded = unpadded.encode_batch_fast(texts[start : start + CHUNK])
                self.ids += [np.array(e.ids, dtype=np.int32) for e in encoded]
                progress.update(len(encoded))
        self.targets = tweets["target"].to_numpy(np.float32, copy=True)
        self.lengths = np.array([len(ids) for ids in self.ids])

    def __len__(self) -> int:
        """Return the number of tweets."""
        return len(self.ids)

    def batch(self, rows: Rows, grid: int = GRID) -> Batch:
        """Return these tweets, padded to a multiple of `grid` tokens."""
        width = -(-self.lengths[rows].max() // grid) * grid
        mask = np.arange(width) < self.lengths[rows][:, None]
        ids = np.full(mask.shape, self.pad_id, dtype=np.int64)
        ids[mask] = np.concatenate([self.ids[row] for row in rows])
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask.astype(np.int64)),
            "targets": torch.from_numpy(self.targets[rows]),
        }


def batches_of(lengths: npt.NDArray[np.int64], size: int, seed: int, epoch: int) -> list[Rows]:
    """Return the batches of an epoch: every index once, in at most `size`, of similar length.

    The order is a function of the arguments alone. Unlike those of transformers'
    LengthGroupedSampler, the batches are shuffled too, so that length does not follow a pattern in
    time, and no batch is a small rest.
    """
    chance = np.random.default_rng([seed, epoch])
    drawn = np.array_split(chance.permutation(len(lengths)), -(-len(lengths) // size))
    batches: list[Rows] = []
    for start in range(0, len(drawn), POOL):
        pool = np.concatenate(drawn[start : start + POOL])
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(np.array_split(by_length, len(drawn[start : start + POOL])))
    return [batches[number] for number in chance.permutation(len(batches))]
