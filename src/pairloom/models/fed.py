"""The whole loop of a decoder with input feeding, forward and backward, as one function for torch's autograd.

    Luong, Pham, Manning 2015    arXiv 1508.04025, section 3.3: input feeding; equation 5: tanh(W_c [context; hidden])

What `AttentionModel` computes step by step with torch's own functions is written out here for the usual case: one LSTM
layer, a dot product as the score, Luong's readout. The equations are the same, and a test compares the two. It is
faster because of what can wait until the loop is over: a step multiplies by the weights once in each direction, and the
gradients of all weights, keys and values are one product over all T steps instead of T small ones that are added up.
No graph of some fifty nodes a step is built and walked, either.

Dimensions: B sentences, T target tokens, S source tokens, H hidden state, A annotation, E the attentional vector that
is fed.

    gates_t   = ahead_t + [fed_{t-1}; h_{t-1}] W'             i, f, o = sigmoid, g = tanh, in torch's order i, f, g, o
    c_t       = f c_{t-1} + i g,   h_t = o tanh(c_t),         d_t = dropout(h_t)
    p_t       = softmax(scale keys d_t),                      context_t = p_t values
    z_t       = tanh(W_c [context_t; d_t] + b_c),             fed_t = dropout(z_t)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pairloom.models.dropout import draw_kept


class Fed(NamedTuple):
    """T steps."""

    combined: Tensor  # [B, T, E] the attentional vectors
    hidden: Tensor  # [B, H] after the last step
    cell: Tensor  # [B, H]
    outputs: Tensor  # [B, T, H] of the cells, dropped out
    weights: Tensor  # [B, T, S]
    context: Tensor  # [B, T, A]


def run_fed(
    ahead: Tensor,  # [T, B, 4H] the known input and both biases, multiplied beforehand
    weight: Tensor,  # [4H, E + H] of what is fed and of the hidden state
    readout: tuple[Tensor, Tensor],  # W_c [E, A + H] and b_c [E]
    memory: tuple[Tensor, Tensor, Tensor],  # keys [B, S, H], values [B, S, A], mask [B, S]
    state: tuple[Tensor, Tensor, Tensor],  # fed [B, E], hidden [B, H], cell [B, H]
    scale: float,  # of the scores
    dropout: float,  # share of units; 0 where nothing is trained
) -> Fed:
    """All T steps. Works in the precision of `ahead`, to which everything else is brought."""
    keys, values, mask = memory
    steps, rows, _ = ahead.shape
    one = torch.ones((), dtype=ahead.dtype)
    kept: list[Tensor] = [one.expand(steps, 1, 1)] * 2
    if dropout:
        shapes = ((steps, rows, size.shape[1]) for size in (state[1], state[0]))
        kept = [draw_kept(shape, dropout).neg_().to(ahead.dtype) for shape in shapes]
    closed = torch.zeros(mask.shape, dtype=ahead.dtype).masked_fill_(~mask, float("-inf"))
    learned = (ahead, weight, *readout, keys, values, *state)
    given = [part.to(ahead.dtype) for part in learned]
    return Fed(*_Steps.apply(*given, closed, *kept, scale, 1 / (1 - dropout)))  # type: ignore[no-untyped-call]


class _Steps(torch.autograd.Function):
    """Arguments and results: those of `run_fed`, and of `kept` 1 for each unit that stays (output, attentional)."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, ...]:
        ahead, weight, into, bias, keys, values, fed, hidden, cell, closed, kept_output, kept_fed, scale, rise = given
        steps, rows, _ = ahead.shape
        size, seen = hidden.shape[1], values.shape[2]
        new = ahead.new_empty
        inputs, cells = new(steps + 1, rows, fed.shape[1] + size), new(steps + 1, rows, size)
        gates, bent = torch.empty_like(ahead), new(steps, rows, size)  # bent = tanh(c)
        read, weights, vectors = new(steps, rows, seen + size), new(steps, *closed.shape), new(steps, *fed.shape)
        inputs[0], cells[0], nothing = torch.cat([fed, hidden], dim=1), cell, new(()).zero_()
        weight_t, into_t, closed = weight.t(), into.t(), closed.unsqueeze(2)
        with torch.autocast("cpu", enabled=False):
            for t in range(steps):
                gate = torch.addmm(ahead[t], inputs[t], weight_t, out=gates[t])
                gate[:, : 2 * size].sigmoid_()
                gate[:, 2 * size : 3 * size].tanh_()
                gate[:, 3 * size :].sigmoid_()
                enter, forget, proposal, show = gate.chunk(4, dim=1)
                torch.mul(forget, cells[t], out=cells[t + 1]).addcmul_(enter, proposal)
                after = torch.mul(show, torch.tanh(cells[t + 1], out=bent[t]), out=inputs[t + 1, :, fed.shape[1] :])
                output = torch.addcmul(nothing, after, kept_output[t], value=rise, out=read[t, :, seen:])
                scores = torch.baddbmm(closed, keys, output.unsqueeze(2), alpha=scale)
                torch.softmax(scores.squeeze(2), dim=1, out=weights[t])
                read[t, :, :seen] = torch.bmm(weights[t].unsqueeze(1), values).squeeze(1)
                vector = torch.addmm(bias, read[t], into_t, out=vectors[t]).tanh_()
                torch.addcmul(nothing, vector, kept_fed[t], value=rise, out=inputs[t + 1, :, : fed.shape[1]])
        ctx.save_for_backward(
            weight, into, keys, values, kept_output, kept_fed, inputs, cells, gates, bent, read, weights, vectors
        )
        ctx.scales = scale, rise
        combined = inputs[1:, :, : fed.shape[1]].transpose(0, 1).contiguous()
        context, outputs = torch.split(read.transpose(0, 1), [seen, size], dim=2)
        looks = outputs.clone(), weights.transpose(0, 1).float(), context.clone()
        ctx.set_materialize_grads(False)  # only a model that copies has a gradient for these
        return combined, inputs[-1, :, fed.shape[1] :].clone(), cells[-1].clone(), *looks

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        weight, into, keys, values, kept_output, kept_fed, inputs, cells, gates, bent, read, weights, vectors = (
            ctx.saved_tensors
        )
        scale, rise = ctx.scales
        steps, _, size = bent.shape
        seen, width, nothing = values.shape[2], vectors.shape[2], values.new_zeros(())
        d_combined = torch.zeros_like(vectors) if gradients[0] is None else gradients[0].transpose(0, 1)
        d_hidden, d_cell = (bent.new_zeros(bent.shape[1:]) if g is None else g.clone() for g in gradients[1:3])
        asked_of = [None if g is None else g.transpose(0, 1).to(weights.dtype) for g in gradients[3:]]
        d_gates, d_vectors, d_scores = (torch.empty_like(part) for part in (gates, vectors, weights))
        d_read = torch.empty_like(read)
        d_fed: Tensor = nothing
        for t in reversed(range(steps)):
            tanh_backward(
                torch.addcmul(nothing, d_combined[t] + d_fed, kept_fed[t], value=rise), vectors[t], d_vectors[t]
            )
            torch.mm(d_vectors[t], into, out=d_read[t])
            d_context, d_output = torch.split(d_read[t], [seen, size], dim=1)
            _add(t, (d_output, asked_of[0]), (d_context, asked_of[2]))
            d_weights = torch.bmm(values, d_context.unsqueeze(2)).squeeze(2)
            _add(t, (d_weights, asked_of[1]))
            torch._softmax_backward_data(d_weights, weights[t], 1, weights.dtype, grad_input=d_scores[t])
            d_asked = torch.baddbmm(d_output.unsqueeze(1), d_scores[t].unsqueeze(1), keys, alpha=scale).squeeze(1)
            d_hidden = torch.addcmul(d_hidden, d_asked, kept_output[t], value=rise)
            enter, forget, proposal, show = gates[t].chunk(4, dim=1)
            d_enter, d_forget, d_proposal, d_show = d_gates[t].chunk(4, dim=1)
            d_cell = d_cell + tanh_backward(d_hidden * show, bent[t])
            torch.mul(d_hidden, bent[t], out=d_show)
            torch.mul(d_cell, proposal, out=d_enter)
            torch.mul(d_cell, cells[t], out=d_forget)
            tanh_backward(d_cell * enter, proposal, d_proposal)
            both = slice(2 * size)
            sigmoid_backward(d_gates[t, :, both], gates[t, :, both], d_gates[t, :, both])
            sigmoid_backward(d_show, show, d_show)
            d_cell = d_cell * forget
            d_fed, d_hidden = torch.split(torch.mm(d_gates[t], weight), [width, size], dim=1)
        d_weight = d_gates.flatten(0, 1).t() @ inputs[:-1].flatten(0, 1)
        flat = d_vectors.flatten(0, 1)
        d_into = flat.t() @ read.flatten(0, 1)
        by_sentence = [part.permute(1, 2, 0) for part in (d_scores, weights)]  # [B, S, T]
        d_keys = torch.bmm(by_sentence[0], read[:, :, seen:].transpose(0, 1)) * scale
        d_values = torch.bmm(by_sentence[1], d_read[:, :, :seen].transpose(0, 1))
        found = (d_gates, d_weight, d_into, flat.sum(0), d_keys, d_values, d_fed, d_hidden, d_cell)
        return (*found, *[None] * 5)


def _add(t: int, *parts: tuple[Tensor, Tensor | None]) -> None:
    """To each gradient that of step t of what a copying model reads, where there is one."""
    for gradient, read in parts:
        if read is not None:
            gradient.add_(read[t])


def tanh_backward(gradient: Tensor, result: Tensor, out: Tensor | None = None) -> Tensor:
    """gradient · (1 - result²)"""
    if out is None:
        out = torch.empty_like(gradient)
    written: Tensor = torch.ops.aten.tanh_backward.grad_input(gradient, result, grad_input=out)
    return written


def sigmoid_backward(gradient: Tensor, result: Tensor, out: Tensor) -> Tensor:
    """gradient · result (1 - result)"""
    written: Tensor = torch.ops.aten.sigmoid_backward.grad_input(gradient, result, grad_input=out)
    return written
