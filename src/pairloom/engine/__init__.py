"""The engine: answers without torch."""
