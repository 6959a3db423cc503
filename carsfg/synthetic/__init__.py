"""Drawn cars: synthetic images of cars with labels and boxes."""
