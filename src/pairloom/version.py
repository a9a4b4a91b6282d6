"""The version, apart from everything, so that any floor may name it."""

__version__ = "0.1.0"
