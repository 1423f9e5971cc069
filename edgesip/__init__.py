"""edgesip: a SIP registrar, proxy and NAT edge with an RTP relay, in one process."""

__version__ = "0.1.0"
