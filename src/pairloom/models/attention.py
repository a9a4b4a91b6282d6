"""The recurrent encoder-decoder with attention: read once, look back at every step.

    Sutskever, Vinyals, Le 2014   arXiv 1409.3215   the encoder-decoder LSTM
    Bahdanau, Cho, Bengio 2015    arXiv 1409.0473   the bidirectional encoder, the memory of annotations; `additive`
    Luong, Pham, Manning 2015     arXiv 1508.04025  attention after the decoder's cell, W_c [context; hidden]; feeding
    Vaswani et al. 2017           arXiv 1706.03762  the scaled dot product, softmax(q k / sqrt(d)); several heads
    Press & Wolf 2017             arXiv 1608.05859  output layer tied with the target embeddings
    See, Liu, Manning 2017        arXiv 1704.04368  coverage and copying

Dimensions: B sentences, S source tokens, T target tokens, E embedding, H decoder hidden state, A annotation (encoder
output), L layers, N heads, V target vocabulary.

    source ids [B, S] ── embed ── encoder cells ──► annotations [B, S, A] ──┐ keys, values
                                       │ last states                        │
                                       ▼ bridge                             ▼
    target ids [B, T] ── embed ── decoder cells ──► hidden [B, T, H] ──► attention [B, T, S] ──► context [B, T, A]
                                                     │                                            │
                                                     └───────────► tanh(W_c [context; hidden]) ◄──┘ ──► logits [B, T, V]

By default no step's attention enters the next step's cell. So in training the decoder's cells run as one fused call
over all T, and attention and output are computed for all steps at once. Two choices forbid that and loop over T inside
`decode`: `additive`, where the previous state asks and the context is a part of the cell's input, and input feeding,
where the attentional vector W_c [...] of the step before is. With coverage alone only the attention loops.

How a state asks is in `scores.py`, the cells one step at a time in `stepping.py`, copying in `copying.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairloom.errors import UsageError
from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.copying import CopyGate, mix, pack, unpack
from pairloom.models.dropout import Dropout
from pairloom.models.fed import run_fed
from pairloom.models.looking import (
    FedLSTMState,
    FedState,
    InTurn,
    Looks,
    coverage_loss,
    coverage_of,
    first_state,
    next_state,
)
from pairloom.models.protocol import PAD, Memory, Model, State, Step
from pairloom.models.recurrent import (
    LSTMState,
    RecurrentEncoder,
    RecurrentState,
    initialise_cells,
    make_cells,
    run_cells,
)
from pairloom.models.scores import Attend, DotScores, Look, MultiHead, TanhScores, mean_of_heads
from pairloom.models.stepping import CellSteps

__all__ = ["AttentionMemory", "AttentionModel", "AttentionSettings"]


@dataclass(frozen=True)
class AttentionMemory(Memory):
    """The annotations of the source and what the decoder starts from."""

    values: Tensor  # [B, S, A] (H with several heads)
    keys: Tensor  # [B, S, H]; asks nothing of the decoder, so it is computed once a sentence
    last: Tensor  # [B, A] the last state of each direction
    length_fields: ClassVar[tuple[str, ...]] = ("mask", "values", "keys")


@dataclass(frozen=True)
class CopyMemory(AttentionMemory):
    """A memory from which tokens can be copied."""

    source: Tensor  # [B, S] ids
    length_fields: ClassVar[tuple[str, ...]] = ("mask", "values", "keys", "source")


class Seen(NamedTuple):
    """T steps of the decoder."""

    outputs: Tensor  # [B, T, H] of the cells
    combined: Tensor  # [B, T, E] the attentional vectors
    looks: Looks
    state: RecurrentState  # after the last step


class AttentionModel(Model):
    """Recurrent encoder-decoder with attention, after the `EncoderDecoder` protocol."""

    settings_type = AttentionSettings

    def __init__(self, settings: AttentionSettings, source_size: int, target_size: int, joint: bool = False) -> None:
        """`joint`: both sides share one vocabulary, and so their embeddings. Raises UsageError for copying without."""
        super().__init__(settings, source_size, target_size, joint)
        if settings.copying and not joint:
            raise UsageError(
                "copy=true needs a vocabulary that both sides share, since a copied token must mean the same in the "
                "target: add --joint, or leave copy out"
            )
        self.settings = s = settings
        self.target_embedding = nn.Embedding(target_size, s.embedding, padding_idx=PAD)
        self.source_embedding = None if joint else nn.Embedding(source_size, s.embedding, padding_idx=PAD)
        self.encoder, annotation = self._make_encoder()
        states = 2 if s.cell == "lstm" else 1
        self.bridge = nn.Linear(annotation, states * s.decoder_layers * s.hidden)
        fed = annotation if s.attention == "additive" else s.embedding if s.input_feeding else 0
        self.decoder = make_cells(s.cell, s.embedding + fed, s.hidden, s.decoder_layers, s.dropout)
        self.key = nn.Linear(annotation, s.hidden, bias=False) if self._projects_keys(annotation) else None
        maxout = s.readout == "maxout"
        read = s.hidden + annotation + (s.embedding if maxout else 0)
        self.combine = nn.Linear(read, s.embedding * (2 if maxout else 1))
        self.output = None if s.tie else nn.Linear(s.embedding, target_size, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(target_size))
        self.dropout = Dropout(s.dropout)
        self.attend = self._make_attend(annotation)
        self.gate = CopyGate(annotation, s.hidden, s.embedding) if s.copying else None
        self._initialise()

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _make_encoder(self) -> tuple[nn.Module, int]:
        """The encoder and A. It maps embeddings [B, S, E] and a mask [B, S] to annotations [B, S, A] and the vector
        [B, A] from which the decoder starts. To be overridden by a model that reads otherwise."""
        s = self.settings
        encoder = RecurrentEncoder(s.embedding, s.encoder_hidden, s.encoder_layers, s.bidirectional, s.dropout, s.cell)
        return encoder, encoder.output_size

    def _make_attend(self, annotation: int) -> Attend:
        s = self.settings
        if s.attention == "multi_head":
            assert s.heads is not None  # the settings fill it in
            return MultiHead(s.hidden, annotation, s.heads, s.coverage)
        if s.attention in {"concat", "additive"}:
            return TanhScores(s.hidden, s.coverage)
        return DotScores(s.hidden, s.hidden**-0.5 if s.attention == "scaled_dot" else 1.0, s.coverage)

    def _projects_keys(self, annotation: int) -> bool:
        return self.settings.attention != "dot" or annotation != self.settings.hidden

    def _initialise(self) -> None:
        """Embeddings N(0, 1/E), so that tied logits start with unit variance; cells as `initialise_cells` says.

        The other matrices after Glorot & Bengio 2010: with torch's smaller ones the attention stays nearly even, and so
        teaches nothing, for hundreds of updates. The bias of p_gen is torch's, near 0: making and copying start alike.
        """
        for embedding in (self.target_embedding, self.source_embedding):
            if embedding is not None:
                nn.init.normal_(embedding.weight, std=self.settings.embedding**-0.5)
                nn.init.zeros_(embedding.weight.data[PAD])
        for module in self.modules():
            if isinstance(module, nn.RNNBase):
                initialise_cells(module)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)

    # -- the protocol --------------------------------------------------------------------------------------------------

    def encode(
        self,
        source: Tensor,  # [B, S] ids, ending with `</s>`
        source_mask: Tensor,  # [B, S]
    ) -> AttentionMemory:
        embedding = self.target_embedding if self.source_embedding is None else self.source_embedding
        annotations, last = self.encoder(self._embed(embedding, source), source_mask)
        annotations = self.dropout(annotations)
        keys = annotations if self.key is None else self.key(annotations)
        values = self.attend.values(annotations)
        if self.settings.copying:
            return CopyMemory(mask=source_mask, values=values, keys=keys, last=last, source=source)
        return AttentionMemory(mask=source_mask, values=values, keys=keys, last=last)

    def start(self, memory: Memory) -> RecurrentState:
        """s_0 = tanh(W_s h_last) (Bahdanau et al. 2015, appendix A.2.2), for the cell of an LSTM as well."""
        assert isinstance(memory, AttentionMemory)
        s = self.settings
        states = torch.tanh(self.bridge(memory.last)).view(len(memory.last), -1, s.decoder_layers, s.hidden)
        cells = LSTMState(states[:, 0], states[:, 1]) if s.cell == "lstm" else RecurrentState(states[:, 0])
        fed = s.embedding if s.input_feeding else 0
        return first_state(cells, fed, coverage=memory.mask.shape[1] if s.coverage else 0)

    def decode(
        self,
        tokens: Tensor,  # [B, T] ids of the previous tokens
        memory: Memory,
        state: State,
        *,
        attention: bool = False,
    ) -> Step:
        """`heads` is given by multi_head; `penalty`, with coverage, is λ Σ_i min(a_i, c_i) (See et al. 2017, equations
        12 and 13)."""
        assert isinstance(memory, AttentionMemory)
        assert isinstance(state, RecurrentState)
        embedded = self._embed(self.target_embedding, tokens)
        s = self.settings
        if s.attention == "additive":
            outputs, hidden, looks, after = self._ask_then_step(embedded, memory, state)
        elif s.input_feeding and tokens.shape[1] > 1 and self._is_usual(tokens.device):
            outputs, hidden, looks, after = self._step_then_ask_fused(embedded, memory, state)
        elif s.input_feeding:
            outputs, hidden, looks, after = self._step_then_ask(embedded, memory, state)
        else:
            outputs, hidden, looks, after = self._all_at_once(embedded, memory, state)
        weights = mean_of_heads(looks.weights)
        if self.gate is not None:
            assert isinstance(memory, CopyMemory)
            hidden = pack(hidden, self.gate(looks.context, outputs, embedded), weights, memory.source)
        heads = looks.weights.unsqueeze(1) if attention and s.attention == "multi_head" else None
        penalty = None if looks.covered is None else s.coverage_weight * coverage_loss(weights, looks.covered)
        return Step(hidden, after, weights if attention else None, heads, penalty)

    def context(self, memory: Memory) -> Tensor:
        return self.start(memory).hidden.flatten(1)

    def annotations(self, memory: Memory) -> Tensor:
        assert isinstance(memory, AttentionMemory)
        return memory.values

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., D] → [..., V]; when copying, log-probabilities of the mixed distribution."""
        weight = self.target_embedding.weight if self.output is None else self.output.weight
        if self.gate is None:
            return functional.linear(hidden, weight, self.output_bias)
        packed = unpack(hidden, self.settings.embedding)
        return mix(functional.linear(packed.combined, weight, self.output_bias), packed)

    # -- T steps of the decoder ----------------------------------------------------------------------------------------

    def _all_at_once(self, embedded: Tensor, memory: AttentionMemory, state: RecurrentState) -> Seen:
        """Nothing is fed: the cells run as one fused call, and so does the attention unless coverage forbids it."""
        outputs, after = run_cells(self.decoder, embedded, state)
        outputs = self.dropout(outputs)
        if self.settings.coverage:
            in_turn = self._in_turn(memory, state)
            for query in outputs.unbind(1):
                in_turn.ask(query)
            looks = in_turn.looks()
        else:
            look = self._look(memory, outputs)
            looks = Looks(*look, covered=None, coverage=None)
        combined = self._read_out(looks.context, outputs, embedded)
        return Seen(outputs, combined, looks, next_state(state, after, None, looks.coverage))

    def _ask_then_step(self, embedded: Tensor, memory: AttentionMemory, state: RecurrentState) -> Seen:
        """`additive`: s_{i-1} asks, then the token and c_i feed the cell (Bahdanau et al. 2015, appendix A.2.2)."""
        steps, in_turn, outputs = CellSteps(self.decoder, embedded), self._in_turn(memory, state), []
        layers = steps.layers(state)
        for t in range(embedded.shape[1]):
            context = in_turn.ask(steps.top(layers))
            layers = steps.step(t, context, layers)
            outputs.append(steps.top(layers))
        looks, hidden = in_turn.looks(), self.dropout(torch.stack(outputs, dim=1))
        combined = self._read_out(looks.context, hidden, embedded)
        return Seen(hidden, combined, looks, next_state(state, steps.state(layers), None, looks.coverage))

    def _step_then_ask(self, embedded: Tensor, memory: AttentionMemory, state: RecurrentState) -> Seen:
        """Input feeding: the token and the attentional vector of the step before feed the cell, then its state asks
        (Luong et al. 2015, section 3.3)."""
        assert isinstance(state, FedState | FedLSTMState)
        steps, in_turn, outputs, combined = CellSteps(self.decoder, embedded), self._in_turn(memory, state), [], []
        layers, fed = steps.layers(state), state.fed
        for t, token in enumerate(embedded.unbind(1)):
            layers = steps.step(t, fed, layers)
            output = self.dropout(steps.top(layers))
            fed = self._read_out(in_turn.ask(output), output, token)
            outputs.append(output)
            combined.append(fed)
        looks = in_turn.looks()
        after = next_state(state, steps.state(layers), fed, looks.coverage)
        return Seen(torch.stack(outputs, dim=1), torch.stack(combined, dim=1), looks, after)

    def _is_usual(self, device: torch.device) -> bool:
        """Whether `run_fed` knows these settings."""
        s = self.settings
        simple = s.cell == "lstm" and s.decoder_layers == 1 and s.readout == "luong" and device.type == "cpu"
        return simple and isinstance(self.attend, DotScores) and not s.coverage

    def _step_then_ask_fused(self, embedded: Tensor, memory: AttentionMemory, state: RecurrentState) -> Seen:
        """The same as `_step_then_ask`, written out with its gradient."""
        assert isinstance(state, FedLSTMState)
        assert isinstance(self.attend, DotScores)
        into, recurrent, *biases = self.decoder.all_weights[0]
        size = embedded.shape[2]
        ahead = functional.linear(embedded.transpose(0, 1), into[:, :size], biases[0] + biases[1])
        combined, hidden, cell, outputs, weights, context = run_fed(
            ahead,
            torch.cat([into[:, size:], recurrent], dim=1),
            (self.combine.weight, self.combine.bias),
            (memory.keys, memory.values, memory.mask),
            (state.fed, state.hidden[:, 0], state.cell[:, 0]),
            self.attend.scale,
            self.dropout.p if self.training else 0.0,
        )
        after = LSTMState(hidden.unsqueeze(1), cell.unsqueeze(1))
        looks = Looks(weights.unsqueeze(1), context, covered=None, coverage=None)
        return Seen(outputs, combined, looks, next_state(state, after, combined[:, -1], None))

    def _in_turn(self, memory: AttentionMemory, state: RecurrentState) -> InTurn:
        coverage = coverage_of(state, memory.mask.shape[1]) if self.settings.coverage else None
        return InTurn(partial(self._look, memory), coverage)

    def _look(self, memory: AttentionMemory, queries: Tensor, coverage: Tensor | None = None) -> Look:
        look: Look = self.attend(queries, memory.keys, memory.values, memory.mask, coverage)
        return look

    def _read_out(self, context: Tensor, outputs: Tensor, embedded: Tensor) -> Tensor:
        """[..., A], [..., H], [..., E] → the attentional vector [..., E], dropped out.

        Maxout: of 2E units the larger of each pair (Bahdanau et al. 2015, appendix A.2.2). The appendix reads s_{i-1}
        there; this reads s_i, as equation 4 of the paper says and as suits every kind of attention.
        """
        if self.settings.readout == "maxout":
            pairs = self.combine(torch.cat([context, outputs, embedded], dim=-1)).unflatten(-1, (-1, 2))
            vector: Tensor = self.dropout(pairs.amax(dim=-1))
        else:
            vector = self.dropout(torch.tanh(self.combine(torch.cat([context, outputs], dim=-1))))  # Luong, equation 5
        return vector

    def _embed(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        """Looked up, brought to a deviation of 0.3 (the table has E^-1/2, for the output's sake), dropped out."""
        embedded: Tensor = embedding(ids) * (0.3 * self.settings.embedding**0.5)
        dropped: Tensor = self.dropout(embedded)
        return dropped
