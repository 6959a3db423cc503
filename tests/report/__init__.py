"""Tests of carsfg.report."""
