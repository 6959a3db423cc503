"""Galleries and search with a photo."""
