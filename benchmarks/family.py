"""Every model, cell and attention on the same data with the same number of updates: name → options, what it is.

500 updates are what the defaults make in three to eight minutes of one core: not a mark, but a comparison that does not
depend on how fast each of them is.
"""

from __future__ import annotations

UPDATES = 500

FAMILY: dict[str, tuple[str, str]] = {
    "family-scaled_dot": ("", "scaled dot attention, the default"),
    "family-dot": ("--set model.attention=dot", "dot attention (Luong et al. 2015, equation 8)"),
    "family-general": ("--set model.attention=general", "general attention (Luong et al. 2015, equation 8)"),
    "family-concat": ("--set model.attention=concat", "concat attention (Luong et al. 2015, equation 8)"),
    "family-additive": ("--set model.attention=additive", "additive attention (Bahdanau et al. 2015, A.1.2)"),
    "family-multi_head": ("--set model.attention=multi_head", "multi-head attention (Vaswani et al. 2017, 3.2.2)"),
    "family-feeding": ("--set model.input_feeding=true", "scaled dot, input feeding (Luong et al. 2015, 3.3)"),
    "family-gru": ("--set model.cell=gru", "scaled dot, GRU (Cho et al. 2014)"),
    "family-rnn": ("--set model.cell=rnn", "scaled dot, plain recurrent cells (Elman 1990)"),
    "family-hybrid": ("--model hybrid", "Transformer encoder, LSTM decoder (Chen et al. 2018)"),
    "family-pre": ("--model transformer", "Transformer, pre-norm"),
    "family-post": ("--model transformer --set model.norm=post", "Transformer, post-norm (Vaswani et al. 2017)"),
    "family-fixed-lstm": ("--model rnn", "fixed context vector, LSTM (Sutskever et al. 2014)"),
    "family-fixed-gru": ("--model rnn --set model.cell=gru", "fixed context vector, GRU (Cho et al. 2014)"),
    "family-fixed-rnn": ("--model rnn --set model.cell=rnn", "fixed context vector, plain recurrent cells"),
}
