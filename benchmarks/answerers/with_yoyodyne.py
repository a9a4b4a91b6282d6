"""yoyodyne with a checkpoint of its own: python with_yoyodyne.py SETTINGS CHECKPOINT LINES THREADS given|length

What `yoyodyne predict` does, without its start: the classes, the items and batches of its data module, its model's
step of prediction, its mapper of symbols. The items are made in this process, not in one beside it: a thirtieth of the
time. Batches hold words in the order in which they are given, as those of `predict` do, or of like length. The first
request of each kind is answered with every number of threads, and the fastest is kept.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from serving import Answer, fastest, serve
from yoyodyne import data, models, trainers
from yoyodyne.cli.main import YoyodyneCLI


def load(settings: str, checkpoint: str, lines: str) -> tuple[Any, Any, int]:
    """Model and data module as its command line makes them, and how many updates the model has had."""
    made = YoyodyneCLI(
        models.BaseModel,
        data.DataModule,
        parser_kwargs={"parser_mode": "omegaconf"},
        save_config_callback=None,
        subclass_mode_model=True,
        trainer_class=trainers.Trainer,
        run=False,
        args=["--config", settings, "--data.predict", lines],
    )
    kept = torch.load(checkpoint, weights_only=False)  # its own, of minutes ago
    made.model.load_state_dict(kept["state_dict"])
    made.model.trainer = made.trainer  # it asks whether that is validating
    return made.model.eval(), made.datamodule, kept["global_step"]


def main() -> None:
    """Loads and answers."""
    settings, checkpoint, lines, most, order = sys.argv[1:]
    model, module, updates = load(settings, checkpoint, lines)
    loader, mapper = module.predict_dataloader(), data.Mapper(module.index)
    facts: dict[str, Any] = {
        "version": version("yoyodyne"),
        "torch": torch.__version__,
        "precision": "float32",
        "parameters": sum(one.numel() for one in model.parameters()),
        "updates": updates,
        "settings": {},
    }

    @torch.inference_mode()
    def said(words: Sequence[str], beam: int) -> list[list[str]]:
        model.beam_width = beam
        items = [loader.dataset.sample_to_item(module.parser.parse_line(word)) for word in words]
        found = model.predict_step(loader.collate_fn(items), 0)
        rows = [best[0] for best in found[0]] if beam > 1 else found
        return [mapper.decode_target(row) for row in rows]

    def answer_with(words: Sequence[str], beam: int, batch: int, threads: int) -> Answer:
        torch.set_num_threads(threads)
        rows = list(range(len(words)))
        if order == "length":
            rows.sort(key=lambda row: len(words[row]), reverse=True)
        texts, tokens = [""] * len(words), 0
        for begin in range(0, len(rows), batch):
            places = rows[begin : begin + batch]
            for place, symbols in zip(places, said([words[place] for place in places], beam), strict=True):
                texts[place] = module.target_sep.join(symbols)
                tokens += len(symbols) + 1
        return texts, tokens

    def answer(words: Sequence[str], beam: int, batch: int) -> Answer:
        name = f"beam {beam}, batches of {batch}"
        if name not in facts["settings"]:
            facts["settings"][name] = fastest(
                lambda threads: answer_with(words, beam, batch, threads), range(1, int(most) + 1)
            )
        return answer_with(words, beam, batch, facts["settings"][name])

    serve(Path(lines).read_text("utf-8").splitlines(), answer, facts)


if __name__ == "__main__":
    main()
