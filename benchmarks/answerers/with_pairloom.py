"""pairloom itself: python with_pairloom.py FOLDER LINES ENGINE PRECISION THREADS [shortlist]"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from serving import Answer, one_by_one, serve

import pairloom


def main() -> None:
    """Loads and answers."""
    folder, lines, engine, precision, threads, *more = sys.argv[1:]
    chosen = {"engine": engine, "precision": precision, "threads": int(threads)}
    model = pairloom.load(folder, **chosen, shortlist="shortlist" in more)

    def answer(texts: Sequence[str], beam: int, batch: int) -> Answer:
        if batch == 1:
            return one_by_one(lambda one, beam: answer(one, beam, 2), texts, beam)
        outputs = list(model.outputs(texts, beam=beam, batch=batch))
        return [output.text for output in outputs], sum(len(one.candidates[0].tokens) + 1 for one in outputs)

    by = model.answering()
    serve(
        Path(lines).read_text("utf-8").splitlines(),
        answer,
        {"version": pairloom.__version__, "engine": by.engine, "precision": by.precision},
    )


if __name__ == "__main__":
    main()
