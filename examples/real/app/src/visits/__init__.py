"""Counts visits in Redis."""
