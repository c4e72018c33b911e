"""Batches: every tweet once an epoch, in another order each, with little padding."""

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from stages.shared.batches import CHUNK, GRID, Tweets, batches_of

LENGTHS = np.array([1 + (i * 37) % 60 for i in range(1003)])


@pytest.mark.parametrize(("rows", "size"), [(1003, 16), (1003, 1003), (5, 8), (33, 32), (1, 1)])
def test_every_tweet_once_in_even_batches(rows: int, size: int) -> None:
    batches = batches_of(LENGTHS[:rows], size, seed=1, epoch=1)
    assert sorted(np.concatenate(batches)) == list(range(rows))
    assert len(batches) == -(-rows // size)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def test_the_order_follows_seed_and_epoch() -> None:
    one, again, next_epoch, other_seed = (
        np.concatenate(batches_of(LENGTHS, 16, seed, epoch)).tolist()
        for seed, epoch in ((1, 1), (1, 1), (1, 2), (2, 1))
    )
    assert one == again
    assert one not in (next_epoch, other_seed)


def test_batches_have_little_padding_and_come_mixed() -> None:
    batches = batches_of(LENGTHS, 16, 1, 1)
    by_chance = np.array_split(np.random.default_rng(1).permutation(1003), 63)
    padding, expected = (
        sum(int(LENGTHS[b].max() * len(b) - LENGTHS[b].sum()) for b in each)
        for each in (batches, by_chance)
    )
    assert padding < 0.1 * expected
    lengths = [LENGTHS[batch[0]] for batch in batches]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))


def test_a_batch_has_its_tweets_padded_to_the_longest_on_the_grid() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 5, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_padding(pad_id=3)
    texts = ["a " * (1 + i % 7) for i in range(CHUNK + 3)]
    table = pd.DataFrame({"text": texts, "target": 0.0})
    table.loc[CHUNK, "target"] = 0.75
    tweets = Tweets(table, tokenizer, "some")
    assert [ids.tolist() for ids in tweets.ids] == [[5] * (1 + i % 7) for i in range(CHUNK + 3)]
    rows = np.array([CHUNK, 0])
    batch = tweets.batch(rows, grid=3)
    assert batch["input_ids"].tolist() == [[5, 5, 5, 5, 5, 3], [5, 3, 3, 3, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]]
    assert batch["targets"].tolist() == [0.75, 0.0]
    assert tweets.batch(rows)["input_ids"].shape == (2, 2 * GRID)
