"""RTP and RTCP: who is believed, where packets go, what the SDP says."""
