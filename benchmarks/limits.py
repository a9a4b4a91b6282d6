"""What the machine can do at most, and what share of it training and answering reach.

    python benchmarks/limits.py --data DATA [--model RUNS/multi30k-20] [--seconds 5] [--rounds 5]

With one thread and with all, medians of rounds; a share is of the rate in the same round. The rate of matrix products
is the best of three shapes through torch, as a model would call them; bandwidth is that of
a sum over 256 MB (reading) and of a copy (read and written bytes). The arithmetic of a model is counted by
`forward_flops`; an update is three times that (Kaplan et al. 2020, arXiv 2001.08361, section 2.1: the backward pass
costs twice the forward pass).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from origin import provenance
from torch import nn

import pairloom
from pairloom.version import __version__
from pairloom.weights import build_model, load_folder
from pairloom.workflow.doctor import examine
from pairloom.workflow.prepare import Prepared, open_data, prepare
from pairloom.workflow.settings import RunSettings
from pairloom.workflow.sizing import measure

HERE = Path(__file__).parent
SHAPES = ((2048, 2048, 2048), (1408, 512, 2048), (512, 256, 8000))
"""Rows, inputs, outputs: a large product, and two of a sentence model."""

FLOAT = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def seconds_of(work: Callable[[], Any], repeats: int = 9) -> float:
    """Median, after two runs to warm up."""
    work(), work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def product_rate(precision: str) -> float:
    """Billion operations a second of matrix products; a multiplication and an addition are two."""
    best = 0.0
    for rows, inputs, outputs in SHAPES:
        if precision == "int8":
            a, b = (torch.randint(-128, 127, size, dtype=torch.int8) for size in ((rows, inputs), (inputs, outputs)))
            elapsed = seconds_of(lambda a=a, b=b: torch._int_mm(a, b))
        else:
            a, b = (torch.randn(size).to(FLOAT[precision]) for size in ((rows, inputs), (outputs, inputs)))
            elapsed = seconds_of(lambda a=a, b=b: nn.functional.linear(a, b))
        best = max(best, 2 * rows * inputs * outputs / elapsed / 1e9)
    return best


def bandwidth() -> dict[str, float]:
    """GB a second, of reading and of copying."""
    numbers, place = torch.ones(2**26), torch.empty(2**26)
    size = numbers.numel() * 4 / 1e9
    return {"read": size / seconds_of(numbers.sum, 5), "copy": 2 * size / seconds_of(lambda: place.copy_(numbers), 5)}


def forward_flops(model: nn.Module, source: float, target: float) -> float:
    """Operations of the matrix products of one pair with so many source and target tokens: 2 for each weight and token.

    What reads the source (the encoder, keys, cross attention's keys and values) is multiplied by source tokens, the
    rest by target tokens. Attention's own products are counted, element-wise work is not.
    """
    settings: Any = model.settings
    total = 0.0
    for name, module in model.named_modules():
        tokens = source if name.startswith(("encoder", "key", "cross")) else target
        if isinstance(module, nn.Linear) and name != "bridge":
            total += 2 * module.weight.numel() * tokens
        elif isinstance(module, nn.RNNBase):
            total += 2 * sum(weight.numel() for weight in module.parameters() if weight.ndim == 2) * tokens
    table: Any = model.target_embedding
    if settings.tie:
        total += 2 * table.weight.numel() * target
    if hasattr(settings, "feed_forward"):  # scores and mixing, of size d each: in the encoder, and twice in the decoder
        looks = settings.encoder_layers * source * source + settings.decoder_layers * target * (target / 2 + source)
        return total + 4 * settings.size * looks
    return total + 4 * settings.hidden * target * source


def of_training(data: Path, kind: str, seconds: float, folder: Path) -> tuple[Prepared, float, float]:
    """Multi30k with the default sizes: what was prepared, target tokens a second, and operations a target token."""
    at = data / "multi30k"
    pairs, dev = ((str(at / f"{part}.de"), str(at / f"{part}.en")) for part in ("train", "val"))
    settings = RunSettings(pairs=pairs, dev=dev, kind=kind, steps=1)
    prepared = prepare(settings, open_data(settings), folder)
    corpora = (prepared.train, prepared.development)
    speed = measure(prepared.plan, prepared.folder, corpora, prepared.device, seconds)
    lengths = [float((side + 1).mean()) for side in (prepared.train.source_lengths, prepared.train.target_lengths)]
    return prepared, speed, 3 * forward_flops(build_model(prepared.folder), *lengths) / lengths[1]


def of_answering(model: Path, sources: list[str], seconds: float, threads: int) -> tuple[float, float]:
    """Greedy answers, 64 at a time: output tokens a second, and operations an output token."""
    loaded, folder = pairloom.load(model, threads=threads), load_folder(model)
    list(loaded.outputs(sources[:64], beam=1, batch=64))
    tokens, answers, began = 0, 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        tokens += sum(len(one.candidates[0].tokens) + 1 for one in loaded.outputs(sources, beam=1, batch=64))
        answers += len(sources)
    speed = tokens / (time.perf_counter() - began)
    source, target = statistics.mean(len(folder.source.encode(text)) + 1 for text in sources), tokens / answers
    return speed, forward_flops(folder.model, source, target) / target


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, help="a model of Multi30k, for the share of answering")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement of training and answering")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    most = torch.get_num_threads()
    found: list[tuple[dict[str, float], list[dict[str, Any]]]] = []
    result: dict[str, Any] = {"processor": examine().processor, "rounds": given.rounds, "rates": {}, "shares": []}
    for threads in sorted({1, most}):
        torch.set_num_threads(threads)
        found = [one_round(given, threads) for _ in range(given.rounds)]
        result["rates"][str(threads)] = median_of([rates for rates, _ in found])
        result["shares"] += [median_of(list(rows)) for rows in zip(*(rows for _, rows in found), strict=True)]
    result |= {"versions": {"pairloom": __version__, "torch": torch.__version__}, **provenance()}
    (HERE / "results" / "limits.json").write_text(json.dumps(result, indent=2) + "\n", "utf-8")


def one_round(given: argparse.Namespace, threads: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """The machine's rates, and in the same minute what training and answering reach of them."""
    rates = {name: product_rate(name) for name in ("float32", "bfloat16", "int8")} | bandwidth()
    rows: list[dict[str, Any]] = []
    for kind in ("attention", "transformer"):
        with tempfile.TemporaryDirectory() as folder:
            prepared, speed, flops = of_training(given.data, kind, given.seconds, Path(folder))
        rows.append(share(f"training, {kind}", threads, prepared.plan.training.precision, speed, flops, rates))
    if given.model is not None:
        sources = (given.data / "multi30k" / "test_2016_flickr.de").read_text("utf-8").splitlines()
        speed, flops = of_answering(given.model, sources[:512], given.seconds, threads)
        rows.append(share("answering, greedy, 64 at a time", threads, "int8", speed, flops, rates))
    return rates, rows


def median_of(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each number that differs between rounds; the rest as it is."""
    return {
        name: round(statistics.median(one[name] for one in rounds), 3) if isinstance(value, float) else value
        for name, value in rounds[0].items()
    }


def share(
    what: str, threads: int, precision: str, speed: float, flops: float, rates: dict[str, float]
) -> dict[str, Any]:
    """One row: what is reached of the rate of products in that precision."""
    reached = speed * flops / 1e9
    print(
        f"{what}, {threads} threads: {speed:,.0f} tokens/s x {flops / 1e6:.1f} million operations = {reached:,.0f} "
        f"billion a second, {reached / rates[precision]:.0%} of the {precision} rate",
        flush=True,
    )
    return {
        "what": what,
        "threads": threads,
        "precision": precision,
        "tokens_per_second": speed,
        "million_operations_a_token": flops / 1e6,
        "billion_operations_a_second": reached,
        "share": reached / rates[precision],
    }


if __name__ == "__main__":
    main()
