"""How good are the outputs: scores with 95% intervals, the worst lines, and a table by the length of the source.

    from pairloom.metrics import by_length, default_metrics, score, worst

    for result in score(hypotheses, references, default_metrics("bpe")):
        print(result)                       # BLEU 41.5 [40.1, 42.9]

`hypotheses` has one text a line and `references` one or more right answers for each of them.
What each metric counts is said in `definitions.py`; the bootstrap in `scores.py`; the tables in `breakdown.py`.
"""

from pairloom.metrics.breakdown import Example, LengthRow, by_length, worst
from pairloom.metrics.definitions import METRICS, Measured, Metric
from pairloom.metrics.scores import GROUPS, Score, default_metrics, score

__all__ = [
    "GROUPS",
    "METRICS",
    "Example",
    "LengthRow",
    "Measured",
    "Metric",
    "Score",
    "by_length",
    "default_metrics",
    "score",
    "worst",
]
