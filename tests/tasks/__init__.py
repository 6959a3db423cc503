"""Tests of carsfg.tasks."""
