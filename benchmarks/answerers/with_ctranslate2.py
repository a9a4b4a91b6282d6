"""CTranslate2 with the weights of a pairloom Transformer: python with_ctranslate2.py FOLDER LINES TYPE THREADS SCRATCH

At its best setting, which is not the same for all works: the first request of each is answered once with every way of
dividing the threads, and the fastest is kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from safetensors.numpy import load_file
from serving import Answer, Texts, fastest, one_by_one, serve

LONGEST = 512  # positions

Setting = tuple[int, int]
"""Workers, and threads of each."""


def convert(folder: Path, out: Path, texts: Texts) -> None:
    """The folder's model as CTranslate2 stores it, through its own classes of a specification."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    settings, weights = config["model"], load_file(folder / "model.safetensors")
    if config["kind"] != "transformer":
        raise SystemExit(f"{folder}: CTranslate2 has no model of kind {config['kind']}")
    spec = transformer_spec.TransformerSpec.from_config(
        num_layers=(settings["encoder_layers"], settings["decoder_layers"]),
        num_heads=settings["heads"],
        pre_norm=settings["norm"] == "pre",
        activation=common_spec.Activation.RELU,
    )
    positions = sinusoids(settings["size"])
    shared = weights["target_embedding.weight"]
    own = weights.get("source_embedding.weight", shared)
    for side, table in ((spec.encoder, own), (spec.decoder, shared)):
        embeddings = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        embeddings.weight = table
        side.position_encodings.encodings = positions
    for layer, place in zip(spec.encoder.layer, range(settings["encoder_layers"]), strict=True):
        encoder_layer(layer, weights, f"encoder.layers.{place}")
    cross = np.split(weights["cross.weight"], settings["decoder_layers"])
    cross_bias = np.split(weights["cross.bias"], settings["decoder_layers"])
    for place, layer in enumerate(spec.decoder.layer):
        decoder_layer(layer, weights, f"decoder.{place}", cross[place], cross_bias[place])
    if settings["norm"] == "pre":
        norm(spec.encoder.layer_norm, weights, "encoder.norm")
        norm(spec.decoder.layer_norm, weights, "norm")
    spec.decoder.projection.weight = weights.get("output.weight", shared)
    spec.decoder.projection.bias = weights["output_bias"]
    spec.register_source_vocabulary(texts.source_pieces)
    spec.register_target_vocabulary(texts.target_pieces)
    spec.config.add_source_eos = True
    spec.config.decoder_start_token = "<s>"
    spec.validate()
    spec.optimize()
    out.mkdir(parents=True, exist_ok=True)
    spec.save(str(out))


def sinusoids(size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """[LONGEST, d]: sines on the even, cosines on the odd places."""
    angles = np.arange(LONGEST)[:, None] * 10000.0 ** (-np.arange(0, size, 2) / size)
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(LONGEST, size).astype(np.float32)


def encoder_layer(layer: Any, weights: Any, name: str) -> None:
    """Self-attention and feed-forward."""
    linear(layer.self_attention.linear[0], weights, f"{name}.project")
    linear(layer.self_attention.linear[1], weights, f"{name}.mix")
    norm(layer.self_attention.layer_norm, weights, f"{name}.residuals.0.norm")
    feed_forward(layer.ffn, weights, name, 1)


def decoder_layer(layer: Any, weights: Any, name: str, cross: Any, cross_bias: Any) -> None:
    """The same with attention over the source between them."""
    linear(layer.self_attention.linear[0], weights, f"{name}.project")
    linear(layer.self_attention.linear[1], weights, f"{name}.mix")
    norm(layer.self_attention.layer_norm, weights, f"{name}.residuals.0.norm")
    linear(layer.attention.linear[0], weights, f"{name}.query")
    layer.attention.linear[1].weight, layer.attention.linear[1].bias = cross, cross_bias
    linear(layer.attention.linear[2], weights, f"{name}.cross_mix")
    norm(layer.attention.layer_norm, weights, f"{name}.residuals.1.norm")
    feed_forward(layer.ffn, weights, name, 2)


def feed_forward(layer: Any, weights: Any, name: str, residual: int) -> None:
    """Both products and the norm."""
    linear(layer.linear_0, weights, f"{name}.feed_forward.0")
    linear(layer.linear_1, weights, f"{name}.feed_forward.2")
    norm(layer.layer_norm, weights, f"{name}.residuals.{residual}.norm")


def linear(layer: Any, weights: Any, name: str) -> None:
    """One product."""
    layer.weight, layer.bias = weights[f"{name}.weight"], weights[f"{name}.bias"]


def norm(layer: Any, weights: Any, name: str) -> None:
    """One layer norm."""
    layer.gamma, layer.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]


def main() -> None:
    """Converts, loads and answers."""
    folder, lines, precision, threads, scratch = sys.argv[1:]
    texts = Texts(Path(folder))
    convert(Path(folder), Path(scratch), texts)
    facts: dict[str, Any] = {"version": ctranslate2.__version__, "precision": precision, "settings": {}}
    translators: dict[Setting, Any] = {}

    def translate(given: Sequence[str], beam: int, batch: int, setting: Setting) -> Answer:
        if setting not in translators:
            workers, each = setting
            translators[setting] = ctranslate2.Translator(
                scratch, device="cpu", compute_type=precision, inter_threads=workers, intra_threads=each
            )
        found = translators[setting].translate_batch(
            texts.pieces(given), max_batch_size=batch, beam_size=beam, max_decoding_length=200
        )
        said = [one.hypotheses[0] for one in found]
        return [texts.text(pieces) for pieces in said], sum(len(pieces) + 1 for pieces in said)

    def answer_with(given: Sequence[str], beam: int, batch: int, setting: Setting) -> Answer:
        if batch == 1:
            return one_by_one(lambda one, beam: translate(one, beam, 1, setting), given, beam)
        return translate(given, beam, batch, setting)

    def answer(given: Sequence[str], beam: int, batch: int) -> Answer:
        name = f"beam {beam}, batches of {batch}"
        if name not in facts["settings"]:
            facts["settings"][name] = fastest(
                lambda setting: answer_with(given, beam, batch, setting), settings(int(threads), batch)
            )
        return answer_with(given, beam, batch, tuple(facts["settings"][name]))

    serve(Path(lines).read_text("utf-8").splitlines(), answer, facts)


def settings(threads: int, batch: int) -> list[Setting]:
    """Every way of dividing the threads that makes sense: one sentence is never shared by workers."""
    whole = [(1, each) for each in range(1, threads + 1)]
    return whole if batch == 1 else [*whole, *((workers, threads // workers) for workers in range(2, threads + 1))]


if __name__ == "__main__":
    main()
