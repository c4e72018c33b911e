"""Length buckets: every tweet once an epoch, in another order each, with little padding."""

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from stages.batches import LengthBuckets, Tweets, collate


@pytest.fixture(scope="module")
def tweets() -> Tweets:
    tokenizer = Tokenizer(models.WordLevel({"a": 5, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    lengths = [1 + (i * 37) % 60 for i in range(1003)]
    return Tweets(pd.DataFrame({"text": ["a " * n for n in lengths], "target": 1}), tokenizer)


def padding(tweets: Tweets, batches: list[list[int]]) -> int:
    sizes = [[len(tweets[i][0]) for i in batch] for batch in batches]
    return sum(max(size) * len(size) - sum(size) for size in sizes)


def test_every_tweet_once_an_epoch(tweets: Tweets) -> None:
    batches = list(LengthBuckets(tweets, 16, seed=1))
    assert sorted(i for batch in batches for i in batch) == list(range(1003))
    assert len(batches) == len(LengthBuckets(tweets, 16, seed=1)) == 63


def test_the_order_follows_seed_and_epoch(tweets: Tweets) -> None:
    order, again = LengthBuckets(tweets, 16, seed=1), LengthBuckets(tweets, 16, seed=1)
    assert list(order) == list(again)
    again.set_epoch(1)
    assert list(order) != list(again)
    assert list(order) != list(LengthBuckets(tweets, 16, seed=2))


def test_there_is_little_padding(tweets: Tweets) -> None:
    batches = list(LengthBuckets(tweets, 16, seed=1))
    chance = torch.randperm(1003, generator=torch.Generator().manual_seed(1))
    assert padding(tweets, batches) < 0.1 * padding(
        tweets, [chance[i : i + 16].tolist() for i in range(0, 1003, 16)]
    )


def test_long_and_short_batches_come_mixed(tweets: Tweets) -> None:
    lengths = [len(tweets[batch[0]][0]) for batch in LengthBuckets(tweets, 16, seed=1)]
    assert lengths not in (sorted(lengths), sorted(lengths, reverse=True))


def test_a_batch_is_padded_to_its_longest() -> None:
    batch = collate([([7, 8, 9], 1), ([4], 0)], pad_id=3)
    assert batch["input_ids"].tolist() == [[7, 8, 9], [4, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
