"""Tests of carsfg.callbacks."""
