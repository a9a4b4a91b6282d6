"""Attention from word to word."""

from __future__ import annotations

import numpy as np
import pytest

from pairloom.decoding.explanation import Explanation
from pairloom.errors import UsageError


def test_pieces_of_a_word_are_joined() -> None:
    attention = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.3, 0.3, 0.3], [0.0, 0.0, 0.0, 1.0]], np.float32)
    found = Explanation(
        source="playing chess",
        text="schach",
        source_tokens=["▁play", "ing", "▁chess", "</s>"],
        tokens=["▁scha", "ch", "</s>"],
        source_spans=[(0, 4), (4, 7), (8, 13), (13, 13)],
        source_words=[(0, 7), (0, 7), (8, 13), (13, 13)],
        words=[(0, 6), (0, 6), (6, 6)],
        attention=attention,
        scores=[-1.0, -2.0, -0.5],
        alternatives=[[], [], []],
    ).by_words()
    assert found.source == ["playing", "chess", "</s>"]
    assert found.target == ["schach", "</s>"]
    np.testing.assert_allclose(found.attention, [[0.55, 0.25, 0.2], [0.0, 0.0, 1.0]], atol=1e-6)


def test_characters_stay_characters() -> None:
    found = Explanation(
        source="ab",
        text="",
        source_tokens=["a", "b", "</s>"],
        tokens=["</s>"],
        source_spans=[(0, 1), (1, 2), (2, 2)],
        source_words=[(0, 1), (1, 2), (2, 2)],
        words=[(0, 0)],
        attention=np.array([[0.2, 0.3, 0.5]], np.float32),
        scores=[-1.0],
        alternatives=[[]],
    ).by_words()
    assert found.source == ["a", "b", "</s>"]
    assert found.target == ["</s>"]


def explanation(layers: int, heads: int, several: bool = True) -> Explanation:
    """Two target tokens over three of the source, of which two are one word; every head has its own weights."""
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=(layers, heads, 2)).astype(np.float32)
    return Explanation(
        source="abc",
        text="x",
        source_tokens=["▁ab", "c", "</s>"],
        tokens=["▁x", "</s>"],
        source_spans=[(0, 2), (2, 3), (3, 3)],
        source_words=[(0, 3), (0, 3), (3, 3)],
        words=[(0, 1), (1, 1)],
        attention=weights[-1, 0],
        scores=[-1.0, -0.5],
        alternatives=[[], []],
        heads=weights if several else None,
    )


def test_a_layer_and_a_head_can_be_looked_at() -> None:
    whole = explanation(2, 3)
    assert whole.heads is not None
    assert whole.counts == (2, 3)
    assert whole.looking() is whole
    for layer in (1, 2):
        np.testing.assert_allclose(whole.looking(layer).attention, whole.heads[layer - 1].mean(0))
        for head in (1, 2, 3):
            chosen = whole.looking(layer, head)
            np.testing.assert_array_equal(chosen.attention, whole.heads[layer - 1, head - 1])
            np.testing.assert_allclose(chosen.by_words().attention[:, 0], chosen.attention[:, :2].sum(1), rtol=1e-6)
    words = whole.looking(1, 2).by_words()
    assert words.heads is not None
    assert words.heads.shape == (2, 3, 2, 2)
    np.testing.assert_allclose(words.heads[0, 1], words.attention)
    assert explanation(1, 3).looking(head=2).attention.shape == (2, 3)  # of the only layer


def test_the_only_attention_is_layer_1_head_1() -> None:
    only = explanation(1, 1, several=False)
    assert only.counts == (1, 1)
    for chosen in (only.looking(1), only.looking(1, 1), only.looking(head=1)):
        np.testing.assert_array_equal(chosen.attention, only.attention)
    assert only.by_words().heads is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((3, None), "there is no layer 3: this model's attention has 2 layers of 3 heads, counted from 1"),
        ((3, 4), "there is no layer 3 and no head 4: "),
        ((1, 0), "there is no head 0: "),
        ((None, 2), "head 2 of which layer? this model's attention has 2 layers of 3 heads, counted from 1"),
    ],
)
def test_layers_and_heads_that_are_not_there(asked: tuple[int | None, int | None], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        explanation(2, 3).looking(*asked)
    assert message in str(caught.value)
    with pytest.raises(UsageError, match="no head 2: this model's attention has 1 layer of 1 head, counted from 1"):
        explanation(1, 1, several=False).looking(1, 2)
