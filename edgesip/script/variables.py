"""Kamailio's pseudo-variables by name, and the attribute of ours that each stands for.

Two tables, nothing else: what a name means is written at the attribute. Which object has which attribute is
the object's matter: `$rs` is known of a reply and of nothing else.
"""

from __future__ import annotations

VARIABLES: dict[str, str] = {
    # the request URI, and where it goes
    "ru": "ruri_text",
    "rU": "ruri_user",
    "rd": "ruri_domain",
    "rp": "ruri_port",
    "rP": "ruri_transport",
    "rz": "ruri_scheme",
    "ou": "original_uri",
    "oU": "original_user",
    "du": "dst_uri",
    # From, To and the rest of the head
    "rm": "method",
    "ci": "call_id",
    "cs": "cseq",
    "fu": "from_uri",
    "fU": "from_user",
    "fd": "from_domain",
    "ft": "from_tag",
    "fn": "from_name",
    "tu": "to_uri",
    "tU": "to_user",
    "td": "to_domain",
    "tt": "to_tag",
    "tn": "to_name",
    "ua": "user_agent",
    "ct": "contact",
    "cT": "content_type",
    "cl": "content_length",
    "ai": "asserted_identity",
    "pu": "preferred_identity",
    "di": "diversion",
    "rt": "refer_to",
    "rr_count": "rr_count",
    "rr_top_count": "rr_top_count",
    "route_uri": "route_uri",
    "rb": "body",
    "mb": "buffer",
    "ml": "length",
    # how it came
    "si": "source_ip",
    "sp": "source_port",
    "su": "source_uri",
    "source_uri": "source_uri",
    "Ri": "received_ip",
    "Rp": "received_port",
    "proto": "transport",
    "pr": "transport",
    # who sent it
    "au": "auth_user",
    "ar": "auth_realm",
    # a response
    "rs": "status",
    "rr": "reason",
    "T_reply_code": "status",
    "T_reply_reason": "reason",
    "T_reply_ruid": "ruid",
    "T_branch_idx": "index",
    # a call
    "DLG_status": "dlg_status",
    "DLG_lifetime": "dlg_lifetime",
    # its media
    "rtpstat": "rtpstat",
    "rtppstat": "rtpstat",
    "rtpestat": "rtpestat",
    "rtp_mos": "rtp_mos",
    "rtp_loss": "rtp_loss",
    "rtp_jitter": "rtp_jitter",
}
"""`$name` to the attribute that has its value."""

OF_REQUEST = "of_request"
"""The method whose argument is a variable again."""

FUNCTIONS: dict[str, str] = {
    "hdr": "hdr",
    "hdrc": "hdr_count",
    "dlg": "dlg",
    "dlg_var": "dlg_var",
    "T_req": OF_REQUEST,
    "T_inv": OF_REQUEST,
    "sdp": "sdp",
    "keepalive.socket": "keepalive_socket",
    "ulc": "ulc",
}
"""`$name(argument)` to the method that is given the argument."""
