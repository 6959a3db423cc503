"""Galleries: building, storing and calibrating them, and search with a photo."""
