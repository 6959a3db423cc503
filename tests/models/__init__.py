"""Tests of carsfg.models."""
