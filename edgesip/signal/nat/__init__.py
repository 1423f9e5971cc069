"""Detecting NATs, repairing what they break, keeping their holes open."""
