"""Batches of tweets of like length, padded to the longest one in the batch."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from tokenizers import Tokenizer
from torch.utils.data import Dataset, Sampler

POOL = 50  # batches sorted by length together: enough for little padding, few enough for chance


Row = tuple[list[int], int]  # token ids, label


class Tweets(Dataset[Row]):
    """Tweets, tokenised once."""

    def __init__(self, tweets: pd.DataFrame, tokens: Tokenizer) -> None:
        encoded = tokens.encode_batch_fast(tweets["text"].tolist())
        labels = tweets["target"].tolist()
        self.rows: list[Row] = [(e.ids, label) for e, label in zip(encoded, labels, strict=True)]

    def __len__(self) -> int:
        """Count the tweets."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        """Return a tweet's token ids and label."""
        return self.rows[index]


class LengthBuckets(Sampler[list[int]]):
    """Yields shuffled batches of indices whose texts have nearly the same length.

    The order is a function of `seed` and the epoch alone. As transformers' LengthGroupedSampler,
    except that the batches are shuffled too, so that length does not follow a pattern in time.
    """

    def __init__(self, tweets: Tweets, batch_size: int, seed: int) -> None:
        self.lengths = torch.tensor([len(ids) for ids, _ in tweets.rows])
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Go through every index once."""
        chance = torch.Generator().manual_seed(self.seed + self.epoch)
        shuffled = torch.randperm(len(self.lengths), generator=chance)
        batches: list[torch.Tensor] = []
        for pool in torch.split(shuffled, self.batch_size * POOL):
            by_length = pool[self.lengths[pool].argsort(stable=True)]
            batches.extend(torch.split(by_length, self.batch_size))
        for number in torch.randperm(len(batches), generator=chance).tolist():
            yield batches[number].tolist()


def collate(rows: Sequence[Row], pad_id: int) -> dict[str, torch.Tensor]:
    """Pad (token ids, label) rows to `input_ids`, `attention_mask` (rows, tokens) and `labels`."""
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    ids = torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(ids) for ids, _ in rows], batch_first=True, padding_value=pad_id
    )
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "labels": torch.tensor([label for _, label in rows]),
    }
