"""Channels of notifications."""
