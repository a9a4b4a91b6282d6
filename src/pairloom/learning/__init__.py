"""Training: a loop that is a generator of events, and its pieces. Prints nothing, decodes nothing."""
