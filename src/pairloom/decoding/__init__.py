"""Searching for outputs and scoring given ones."""
