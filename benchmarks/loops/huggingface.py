"""Hugging Face's MarianMT from scratch: huggingface.py FOLDER SENTENCES float32|bfloat16"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import torch
from common import BOS, EOS, PAD, Meter, batches
from transformers import MarianConfig, MarianMTModel


def main(folder: Path, size: int, precision: str) -> None:
    """Trains until it is ended."""
    torch.manual_seed(1)
    random.seed(1)
    config = MarianConfig(
        vocab_size=8000, d_model=256, max_position_embeddings=256,
        encoder_layers=3, decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=1024, decoder_ffn_dim=1024, activation_function="relu", dropout=0.3, attention_dropout=0.0,
        scale_embedding=True, share_encoder_decoder_embeddings=True,
        pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=BOS, forced_eos_token_id=None,
    )  # fmt: skip
    model = MarianMTModel(config).train()
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98))
    meter = Meter()
    for source, target in batches(folder, size):
        before = torch.cat([torch.full((len(target), 1), BOS), target[:, :-1]], dim=1)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            mask = (source != PAD).long()
            logits = model(input_ids=source, attention_mask=mask, decoder_input_ids=before).logits
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=0.1
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        meter.count(int((target != PAD).sum()), len(target))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
