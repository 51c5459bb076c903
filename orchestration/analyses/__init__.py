"""Analyses as assets: on request and every night."""
