"""Batches of tweets of similar length, padded to about the longest tweet in the batch."""

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from tokenizers import Tokenizer

from common.progress import Progress

POOL = 50  # batches whose tweets are sorted by length together: little padding, random order
GRID = 4  # tokens, of which padded lengths are multiples; a CPU prepares for each new length
CHUNK = 10_000  # tweets tokenised between two updates of the progress bar

Rows = npt.NDArray[np.int64]  # indices of tweets
Batch = dict[str, torch.Tensor]  # input_ids, attention_mask: (rows, tokens); targets: (rows,)


class Tweets:
    """Tokenised tweets with their targets from 0 to 1; they take four bytes a token."""

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
        """Return the tweets in `rows` as a batch, padded to a multiple of `grid` tokens."""
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
    """Return the batches of an epoch: at most `size` indices of tweets of similar length each.

    Each index occurs once; the order depends on the arguments only. Unlike in transformers'
    LengthGroupedSampler, batches of all lengths are shuffled, and no batch is a small remainder.
    """
    chance = np.random.default_rng([seed, epoch])
    random_batches = np.array_split(chance.permutation(len(lengths)), -(-len(lengths) // size))
    batches: list[Rows] = []
    for start in range(0, len(random_batches), POOL):
        parts = random_batches[start : start + POOL]
        pool = np.concatenate(parts)
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(np.array_split(by_length, len(parts)))
    return [batches[number] for number in chance.permutation(len(batches))]
