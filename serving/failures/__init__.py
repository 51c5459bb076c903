"""Recorded failures."""
