"""Drawn cars: synthetic car images with labels and bounding boxes, for tests and demonstrations."""
