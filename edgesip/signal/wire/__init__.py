"""Octets to values and back: grammar, URIs, headers, messages."""
