"""Datasets as assets: daily and monthly files, their checks, and when they are made."""
