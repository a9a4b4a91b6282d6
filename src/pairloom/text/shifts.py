"""Do the two sides belong together line by line, or do they run apart somewhere?

Three signs that need no dictionary: long sentences have long translations, digits are kept, and so is the closing
punctuation mark. Each is compared for source n with target n + k, in windows; where a k other than 0 fits better, a
line is missing or too much on one side.

    N  pairs          W  windows          R  rows of a window
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pairloom.text.survey import Numbers, SideSurvey

OFFSETS = (1, -1, 2, -2, 3, -3, 4, -4, 5, -5)
FEWEST = 100
"""Pairs below which nothing can be said."""
_CLEARLY = 5.0  # by how many standard errors an offset must fit better, in two windows in a row
_POPCOUNT = np.array([bin(mask).count("1") for mask in range(1024)], np.float64)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """From pair `row` (from 0) on, source n belongs to target n + `offset`."""

    offset: int
    row: int


@dataclass(frozen=True)
class Signs:
    """The three signs of all pairs."""

    lengths: tuple[Floats, Floats]  # [N] logarithm of the characters
    digits: tuple[Numbers, Numbers]  # [N] masks
    marks: tuple[Numbers, Numbers]  # [N] classes

    @classmethod
    def of(cls, source: SideSurvey, target: SideSurvey) -> Signs:
        """Of the two sides of a survey."""
        logs = np.log1p(source.lengths), np.log1p(target.lengths)
        return cls(logs, (source.digits, target.digits), (source.marks, target.marks))

    def fit(self, offset: int, rows: int) -> Floats:
        """[W] how well source n fits target n + offset, in standard errors above what chance gives."""
        far_lengths, far_digits, far_marks = (
            np.roll(side[1], -offset) for side in (self.lengths, self.digits, self.marks)
        )
        parts = [
            _correlation(_windows(self.lengths[0], rows), _windows(far_lengths, rows)),
            _shared_digits(_windows(self.digits[0], rows), _windows(far_digits, rows)),
            _same_marks(_windows(self.marks[0], rows), _windows(far_marks, rows)),
        ]
        values = np.stack(parts)  # [3, W], NaN where a sign says nothing
        speaking = np.isfinite(values)
        total: Floats = np.where(speaking, values, 0).sum(0) / np.sqrt(np.maximum(speaking.sum(0), 1))
        return total

    def gain(self, offset: int) -> Floats:
        """[N] by how much the pair n, n + offset is more alike than the pair n, n."""
        source, target = (_standardised(side) for side in self.lengths)
        alike = (source - target) ** 2 - (source - np.roll(target, -offset)) ** 2
        for sides, measure in ((self.digits, _jaccard), (self.marks, np.equal)):
            near = np.nan_to_num(np.asarray(measure(sides[0], sides[1]), np.float64))
            alike = alike + np.nan_to_num(np.asarray(measure(sides[0], np.roll(sides[1], -offset)), np.float64)) - near
        return alike


def find_shift(signs: Signs) -> Shift | None:
    """The first place from which the sides run apart by up to 5 lines, or None."""
    count = len(signs.marks[0])
    if count < FEWEST:
        return None
    rows = 50 if count < 1000 else 200
    here = signs.fit(0, rows)
    offsets = np.array(OFFSETS)
    gains = np.stack([signs.fit(int(offset), rows) for offset in offsets]) - here  # [offsets, W]
    best = gains.argmax(0)
    clear = gains.max(0) > _CLEARLY
    runs = np.flatnonzero(clear[:-1] & clear[1:] & (best[:-1] == best[1:]))
    if not len(runs):
        return None
    window = int(runs[0])
    offset = int(offsets[best[window]])
    begin, end = max(0, (window - 1) * rows), (window + 1) * rows
    behind = np.concatenate([[0.0], np.cumsum(signs.gain(offset)[begin:end])])  # lowest where the gain sets in
    return Shift(offset, begin + int(behind.argmin()))


def unrelated(signs: Signs) -> bool:
    """Whether no sign shows that the sides of a pair have more to do with each other than with any other line."""
    count = len(signs.marks[0])
    if count < 10 * FEWEST:
        return False
    fits = signs.fit(0, 200)
    return bool(fits.any()) and float(fits.sum() / np.sqrt(len(fits))) < 2.0


def _windows(values: NDArray[np.generic], rows: int) -> Floats:
    """[N] → [W, R]; the rest is left out."""
    whole = len(values) // rows * rows
    return np.asarray(values[:whole].reshape(-1, rows), np.float64)


def _standardised(values: Floats) -> Floats:
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 0 else 1.0), np.float64)


def _correlation(source: Floats, target: Floats) -> Floats:
    """[W] Fisher's z of Pearson's correlation, in standard errors; NaN for a side of constant length."""
    rows = source.shape[1]
    left, right = source - source.mean(1, keepdims=True), target - target.mean(1, keepdims=True)
    norm = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    correlation = np.divide((left * right).sum(1), norm, out=np.full(len(norm), np.nan), where=norm > 1e-9)
    return np.asarray(np.arctanh(np.clip(correlation, -0.999, 0.999)) * np.sqrt(rows - 3), np.float64)


def _jaccard(left: Numbers, right: Numbers) -> Floats:
    """Shared digits over all digits of a pair; NaN where neither side has one."""
    either = _POPCOUNT[left | right]
    shared = _POPCOUNT[left & right]
    return np.asarray(np.divide(shared, either, out=np.full(either.shape, np.nan), where=either > 0), np.float64)


def _shared_digits(source: Floats, target: Floats) -> Floats:
    """[W] standard errors above the agreement with the other half of the window; NaN for fewer than 10 pairs."""
    left, right = source.astype(np.int64), target.astype(np.int64)
    paired, chance = _jaccard(left, right), _jaccard(left, np.roll(right, source.shape[1] // 2, axis=1))
    return _above(paired, chance)


def _same_marks(source: Floats, target: Floats) -> Floats:
    """[W] standard errors above the agreement with the other half of the window."""
    chance = np.roll(target, source.shape[1] // 2, axis=1)
    return _above((source == target).astype(np.float64), (source == chance).astype(np.float64))


def _above(paired: Floats, chance: Floats) -> Floats:
    """[W] how far the mean of `paired` lies above that of `chance`, both [W, R] within 0..1 or NaN."""
    seen = np.isfinite(paired)
    count = seen.sum(1)
    other = np.isfinite(chance)
    both = np.where(seen, paired, 0).sum(1) + np.where(other, chance, 0).sum(1)
    mean = both / np.maximum(count + other.sum(1), 1)
    difference = np.where(seen, paired, 0).sum(1) / np.maximum(count, 1)
    difference = difference - np.where(other, chance, 0).sum(1) / np.maximum(other.sum(1), 1)
    error = np.sqrt(2 * mean * (1 - mean) / np.maximum(count, 1))
    telling = (count >= 10) & (error > 1e-9)
    return np.asarray(np.divide(difference, error, out=np.full(len(error), np.nan), where=telling), np.float64)
