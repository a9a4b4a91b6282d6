"""Every model, cell and attention on the same words with the same recipe: name → options, what it is.

The 3,600 Greek words of SIGMORPHON 2020 are one or two minutes of one core each, and the recipe decides how often they
are passed over: a comparison, not a mark. The default, whose row is `gre`, is an LSTM with scaled dot attention whose
decoder is fed with the last attentional vector.
"""

from __future__ import annotations

FAMILY: dict[str, tuple[str, str]] = {
    "family-dot": ("--set model.attention=dot", "dot attention (Luong et al. 2015, equation 8)"),
    "family-general": ("--set model.attention=general", "general attention (Luong et al. 2015, equation 8)"),
    "family-concat": ("--set model.attention=concat", "concat attention (Luong et al. 2015, equation 8)"),
    "family-additive": ("--set model.attention=additive", "additive attention (Bahdanau et al. 2015, A.1.2)"),
    "family-multi_head": ("--set model.attention=multi_head", "multi-head attention (Vaswani et al. 2017, 3.2.2)"),
    "family-unfed": ("--set model.input_feeding=false", "scaled dot attention without input feeding"),
    "family-gru": ("--set model.cell=gru", "scaled dot, GRU (Cho et al. 2014)"),
    "family-rnn": ("--set model.cell=rnn", "scaled dot, plain recurrent cells (Elman 1990)"),
    "family-hybrid": ("--model hybrid", "Transformer encoder, LSTM decoder (Chen et al. 2018)"),
    "family-pre": ("--model transformer", "Transformer, pre-norm"),
    "family-post": ("--model transformer --set model.norm=post", "Transformer, post-norm (Vaswani et al. 2017)"),
    "family-fixed-lstm": ("--model rnn", "fixed context vector, LSTM (Sutskever et al. 2014)"),
    "family-fixed-gru": ("--model rnn --set model.cell=gru", "fixed context vector, GRU (Cho et al. 2014)"),
    "family-fixed-rnn": ("--model rnn --set model.cell=rnn", "fixed context vector, plain recurrent cells"),
}
