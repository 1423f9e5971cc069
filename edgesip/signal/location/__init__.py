"""Bindings and the registrar (RFC 3261 section 10)."""
