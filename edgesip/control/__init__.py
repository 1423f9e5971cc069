"""Questions and orders from outside: JSON-RPC, statistics."""
