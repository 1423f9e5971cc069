"""The rules of the lab's NAT routers: one table for each kind of RFC 3489 §5, and one with a SIP ALG.

Text for nft(8) only. Unsolicited datagrams are dropped without leaving a conntrack entry, as home routers
do; what a cone lets in beyond that, it lets in by what a phone behind it has sent before.
"""

from __future__ import annotations

_FRAME = """
table ip lab {{
  {state}
  chain out {{ type nat hook postrouting priority srcnat; oifname "wan" {masquerade}; }}
  chain through {{ type filter hook forward priority filter; policy drop;
                   ct state established,related accept; iifname "lan" accept; {extra} }}
  chain in {{ type filter hook input priority filter; policy accept;
              iifname "wan" ct state established,related accept; iifname "wan" drop; }}
}}
"""

# Who may send to a mapped port: anybody, or any port of an address that was sent to.
_OPEN = """
  map open {{ type {key} : ipv4_addr . inet_service; flags dynamic,timeout; timeout 180s; }}
  chain note {{ type filter hook postrouting priority srcnat + 10;
    oifname "wan" meta l4proto udp update @open {{ {out} : ct original ip saddr . ct original proto-src }};
  }}
  chain cone {{ type nat hook prerouting priority dstnat;
    iifname "wan" meta l4proto udp dnat ip to {into} map @open; }}
"""

# The kernel's own: it rewrites Via, Contact and SDP of what leaves, and back.
_ALG = """
  ct helper sip { type "sip" protocol udp; }
  chain alg { type filter hook prerouting priority filter; udp dport 5060 ct helper set "sip"; }
"""

_STATE = {
    "full-cone": _OPEN.format(key="inet_service", out="udp sport", into="udp dport"),
    "address-restricted": _OPEN.format(
        key="ipv4_addr . inet_service", out="ip daddr . udp sport", into="ip saddr . udp dport"
    ),
    "alg": _ALG,
}

CONES = ("full-cone", "address-restricted")
KINDS = (*CONES, "port-restricted", "symmetric")
"""Those of RFC 3489; the first three keep a port where they can."""


def rules_for(kind: str) -> str:
    """One of KINDS or `alg`."""
    assert kind in (*KINDS, "alg"), kind
    masquerade = "masquerade random,fully-random" if kind == "symmetric" else "masquerade"
    extra = "ct status dnat accept;" if kind in CONES else ""
    return _FRAME.format(state=_STATE.get(kind, ""), masquerade=masquerade, extra=extra)
