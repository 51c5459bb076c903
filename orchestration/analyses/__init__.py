"""Analyses as assets, asked for or every night."""
