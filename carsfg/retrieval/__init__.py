"""Retrieval: metrics of rankings, the gallery that is searched, and the callback that computes them."""
