"""Training: a loop that is a generator of events, and the pieces that it is made of. Prints nothing, decodes nothing."""
