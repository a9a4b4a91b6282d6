"""Arrays and labels in, figures out: attention, learning curves, context vectors. Knows no model.

matplotlib is imported inside the functions that need it, never `pyplot`: a figure belongs to its call, so that any
number of threads can draw. The same arguments give the same bytes, and the user's own matplotlib settings play no part.
"""

from pairloom.pictures.attention import draw_attention
from pairloom.pictures.curve import draw_curve, sparkline
from pairloom.pictures.html import attention_page
from pairloom.pictures.states import draw_states
from pairloom.pictures.terminal import attention_in_terminal

__all__ = [
    "attention_in_terminal",
    "attention_page",
    "draw_attention",
    "draw_curve",
    "draw_states",
    "sparkline",
]
