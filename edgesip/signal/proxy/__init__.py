"""RFC 3261 section 16: forwarding, forking, locating."""
