"""Tests of carsfg.data."""
