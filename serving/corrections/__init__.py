"""Corrections of readings."""
