"""Evaluation of a checkpoint: head, neighbours and linear probe."""
