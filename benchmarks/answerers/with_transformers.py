"""Hugging Face transformers with the weights of a pairloom Transformer: with_transformers.py FOLDER LINES THREADS

MarianMT has the norm after each layer only and cannot carry the weights of a model with the norm before it; M2M100, of
the same library and with the same `generate`, can: sinusoidal positions, shared embeddings times sqrt(d), final norms.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from serving import Answer, Texts, one_by_one, serve
from transformers import M2M100Config, M2M100ForConditionalGeneration

PAD, BOS, EOS = 0, 2, 3
LONGEST = 512  # positions


def convert(folder: Path) -> Any:
    """The folder's model as that library runs it."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    settings, weights = config["model"], load_file(folder / "model.safetensors")
    if config["kind"] != "transformer" or settings["norm"] != "pre" or not config["joint"] or not settings["tie"]:
        raise SystemExit(f"{folder}: only a Transformer with the norm before its layers and tied, shared embeddings")
    model = M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=config["target"]["size"],
            d_model=settings["size"],
            encoder_layers=settings["encoder_layers"],
            decoder_layers=settings["decoder_layers"],
            encoder_attention_heads=settings["heads"],
            decoder_attention_heads=settings["heads"],
            encoder_ffn_dim=settings["feed_forward"],
            decoder_ffn_dim=settings["feed_forward"],
            activation_function="relu",
            scale_embedding=True,
            max_position_embeddings=LONGEST,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            decoder_start_token_id=BOS,
        )
    ).eval()
    table = weights["target_embedding.weight"]
    head = torch.nn.Linear(settings["size"], len(table))
    model.lm_head = head
    named = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, value in renamed(weights, settings["decoder_layers"]).items():
            named.pop(name).copy_(value)
        for name in [name for name in named if name.endswith(("embed_tokens.weight", "shared.weight"))]:
            named.pop(name).copy_(table)
        named.pop("lm_head.weight").copy_(table)
        named.pop("lm_head.bias").copy_(weights["output_bias"])
        for side in (model.model.encoder, model.model.decoder):
            # positions begin behind the id of the padding there
            side.embed_positions.weights[PAD + 1 :] = sinusoids(len(side.embed_positions.weights) - PAD - 1, settings)
    if named:
        raise SystemExit(f"weights that nothing was given for: {', '.join(named)}")
    return model


def renamed(weights: dict[str, Any], decoder_layers: int) -> dict[str, Any]:
    """Their name → our weight, fused products taken apart."""
    found: dict[str, Any] = {}
    crosses = {kind: weights[f"cross.{kind}"].chunk(decoder_layers) for kind in ("weight", "bias")}
    for name, value in weights.items():
        part, _, kind = name.rpartition(".")
        if part in ("encoder.norm", "norm"):
            found[f"model.{'encoder' if part == 'encoder.norm' else 'decoder'}.layer_norm.{kind}"] = value
        if not part.startswith(("encoder.layers.", "decoder.")):
            continue
        side, place, inner = part.removeprefix("encoder.layers.").removeprefix("decoder."), "", ""
        place, _, inner = side.partition(".")
        decoding = part.startswith("decoder.")
        layer = f"model.{'decoder' if decoding else 'encoder'}.layers.{place}"
        if inner == "project":
            for letter, piece in zip("qkv", value.chunk(3), strict=True):
                found[f"{layer}.self_attn.{letter}_proj.{kind}"] = piece
        elif inner.startswith("residuals."):
            norms = ["self_attn_layer_norm", *(["encoder_attn_layer_norm"] if decoding else []), "final_layer_norm"]
            found[f"{layer}.{norms[int(inner.split('.')[1])]}.{kind}"] = value
        else:
            theirs = {
                "mix": "self_attn.out_proj",
                "query": "encoder_attn.q_proj",
                "cross_mix": "encoder_attn.out_proj",
                "feed_forward.0": "fc1",
                "feed_forward.2": "fc2",
            }[inner]
            found[f"{layer}.{theirs}.{kind}"] = value
    for kind, parts in crosses.items():
        for place, both in enumerate(parts):
            for letter, piece in zip("kv", both.chunk(2), strict=True):
                found[f"model.decoder.layers.{place}.encoder_attn.{letter}_proj.{kind}"] = piece
    return found


def sinusoids(length: int, settings: dict[str, Any]) -> torch.Tensor:
    """[length, d]: sines on the even, cosines on the odd places."""
    size = settings["size"]
    angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, size, 2) / size)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def main() -> None:
    """Converts and answers."""
    folder, lines, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    texts, model = Texts(Path(folder)), convert(Path(folder))

    @torch.inference_mode()
    def generate(given: Sequence[str], beam: int) -> Answer:
        rows = [[*ids, EOS] for ids in texts.ids(given)]
        longest = max(map(len, rows))
        padded = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
        found = model.generate(
            input_ids=padded,
            attention_mask=(padded != PAD).long(),
            num_beams=beam,
            do_sample=False,
            max_new_tokens=3 * longest + 10,
        )
        said = [row[: row.index(EOS)] if EOS in row else row for row in found[:, 1:].tolist()]
        said = [[token for token in row if token != PAD] for row in said]
        return [texts.text([texts.target_pieces[i] for i in row]) for row in said], sum(len(row) + 1 for row in said)

    def answer(given: Sequence[str], beam: int, batch: int) -> Answer:
        if batch == 1:
            return one_by_one(generate, given, beam)
        order = sorted(range(len(given)), key=lambda place: len(given[place]), reverse=True)
        texts, total = [""] * len(given), 0
        for begin in range(0, len(order), batch):
            places = order[begin : begin + batch]
            said, tokens = generate([given[place] for place in places], beam)
            total += tokens
            for place, text in zip(places, said, strict=True):
                texts[place] = text
        return texts, total

    serve(
        Path(lines).read_text("utf-8").splitlines(),
        answer,
        {"version": transformers.__version__, "precision": "float32"},
    )


if __name__ == "__main__":
    main()
