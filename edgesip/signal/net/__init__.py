"""The sockets and the loop around the signalling core."""
