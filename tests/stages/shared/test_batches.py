"""Batches: every tweet once an epoch, in another order each, with little padding."""

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from stages.shared.batches import CHUNK, GRID, Tweets, batches_of

LENGTHS = np.array([1 + (i * 37) % 60 for i in range(1003)])


def padding(batches: list[np.ndarray]) -> int:
    return sum(int(LENGTHS[b].max() * len(b) - LENGTHS[b].sum()) for b in batches)


def same(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return [b.tolist() for b in some] == [b.tolist() for b in others]


@pytest.mark.parametrize(("rows", "size"), [(1003, 16), (1003, 1003), (5, 8), (33, 32), (1, 1)])
def test_every_tweet_once_in_even_batches(rows: int, size: int) -> None:
    batches = batches_of(LENGTHS[:rows], size, seed=1, epoch=1)
    assert sorted(np.concatenate(batches)) == list(range(rows))
    assert len(batches) == -(-rows // size)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_the_order_follows_seed_and_epoch() -> None:
    order = batches_of(LENGTHS, 16, seed=1, epoch=1)
    assert same(order, batches_of(LENGTHS, 16, seed=1, epoch=1))
    assert not same(order, batches_of(LENGTHS, 16, seed=1, epoch=2))
    assert not same(order, batches_of(LENGTHS, 16, seed=2, epoch=1))


def test_there_is_little_padding() -> None:
    chance = np.random.default_rng(1).permutation(1003)
    assert padding(batches_of(LENGTHS, 16, 1, 1)) < 0.1 * padding(np.array_split(chance, 63))


def test_long_and_short_batches_come_mixed() -> None:
    lengths = [LENGTHS[batch[0]] for batch in batches_of(LENGTHS, 16, 1, 1)]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))


@pytest.fixture(scope="module")
def tweets() -> Tweets:
    tokenizer = Tokenizer(models.WordLevel({"a": 5, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(pad_id=3)
    texts = ["a " * (1 + i % 7) for i in range(CHUNK + 3)]
    table = pd.DataFrame({"text": texts, "target": 0.0})
    table.loc[CHUNK, "target"] = 0.75
    return Tweets(table, tokenizer, "some")


def test_tweets_keep_their_ids_and_labels(tweets: Tweets) -> None:
    assert [ids.tolist() for ids in tweets.ids] == [[5] * (1 + i % 7) for i in range(CHUNK + 3)]
    assert np.flatnonzero(tweets.targets).tolist() == [CHUNK]


def test_a_batch_is_padded_to_its_longest_on_the_grid(tweets: Tweets) -> None:
    rows = np.array([CHUNK, 0])
    batch = tweets.batch(rows, grid=3)
    assert batch["input_ids"].tolist() == [[5, 5, 5, 5, 5, 3], [5, 3, 3, 3, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]]
    assert batch["targets"].tolist() == [0.75, 0.0]
    assert tweets.batch(rows)["input_ids"].shape == (2, 2 * GRID)
