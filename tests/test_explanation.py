"""Attention from word to word."""

from __future__ import annotations

import numpy as np

from pairloom.decoding.explanation import Explanation


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
