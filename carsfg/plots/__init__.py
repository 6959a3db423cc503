"""Figures shared by TensorBoard, the report and search."""
