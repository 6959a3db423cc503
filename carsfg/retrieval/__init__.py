"""Retrieval: similarity scores, rankings and their metrics as pure functions, and FAISS indexes."""
