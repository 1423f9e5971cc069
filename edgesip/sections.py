"""The sections of a profile: one frozen model each, with the names that operators know from Kamailio.

What a key means stands below it; the documentation is made of that. Knows no file and no command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, model_validator

from edgesip import forms, forms_relay
from edgesip.address import Addr
from edgesip.forms import PortRange, TlsDomain
from edgesip.forms_relay import RelayInterface


class Section(BaseModel):
    """What all sections have in common: frozen, no unknown keys, no value of another type made to fit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)


class Auth(Section):
    """Who must prove who they are, and how."""

    enabled: bool = True
    """`false`: anybody may register as any user of a local domain, and call, without a password."""
    realm: Annotated[str, PlainValidator(forms.realm)] = "edgesip"
    """The realm of challenges. Users are stored with it: after a change, set their passwords again."""
    algorithm: Annotated[tuple[str, ...], PlainValidator(forms.algorithms)] = ("MD5",)
    """What is asked for: MD5, SHA-256, SHA-512-256, or several, a challenge each and the strongest first.
    Some phones do not register at all where another than MD5 is asked for, whatever stands beside it. Whose
    password was set before hashes by SHA-512-256 were kept has none, and cannot prove it so until it is set
    again."""
    qop: Annotated[str, PlainValidator(forms.qop)] = "auth"
    """What of a message a password protects: `auth`, `auth-int` (the body too, which NATs may change), both
    as `auth,auth-int`, or empty for very old phones. (Kamailio's default is empty.)"""
    nonce_expire: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Seconds for which a nonce is good."""
    nonce_auth_max_drift: Annotated[int, Field(ge=0, le=3600)] = 3
    """Seconds that a nonce may be from the future, where servers with the same `secret` share their users."""
    secret: Annotated[str, PlainValidator(forms.secret)] = ""
    """What nonces are keyed with. Empty: random octets, made at the first start and kept in
    STATE_DIR/auth.secret, so that nonces outlive a restart."""
    auth_checks_register: Annotated[int, Field(ge=0, le=15)] = 8
    """What a nonce for REGISTER is bound to, a sum of: 1 request URI, 2 Call-ID, 4 From tag, 8 source
    address. (Kamailio's default is 0, here and below.)"""
    auth_checks_no_dlg: Annotated[int, Field(ge=0, le=15)] = 8
    """The same for other requests that open something."""
    auth_checks_in_dlg: Annotated[int, Field(ge=0, le=15)] = 8
    """The same for requests inside of something, which have a tag in To."""
    nonce_count: bool = False
    """Each request of one nonce must have a higher count (`nc`) than those before; needs a `qop`."""
    one_time_nonce: bool = False
    """Each nonce authenticates one request; the next one is asked again."""
    nc_array_size: Annotated[int, Field(ge=16, le=4_194_304)] = 65_536
    """For how many nonces it is remembered how far they were used, for the two above; when that is too few,
    older ones are stale before their time. (Kamailio's default is 1048576.)"""
    use_domain: bool = False
    """The host of From, and of To in REGISTER, must be the realm too, not the user alone."""
    realm_prefix: Annotated[str, PlainValidator(forms.realm_prefix)] = ""
    """What is taken off the beginning of the realm before it is compared with such a host."""
    add_authinfo_hdr: bool = False
    """Authentication-Info in our answers to who has authenticated: proof that we know the password too."""
    backoff_after: Annotated[int, Field(ge=0, le=1000)] = 5
    """Wrong passwords, of one user from one address, after which the next are not looked at for a while; 0:
    never. Phones that are registered are not held back by the guesses of others."""
    backoff_max: Annotated[int, Field(ge=1, le=3600)] = 60
    """Seconds, at most, of that while: it begins with one and doubles."""

    @model_validator(mode="after")
    def _fits(self) -> Auth:
        if self.nonce_count and not self.qop:
            raise ValueError('nonce_count needs a qop: "auth"')
        return self


class AuthDb(Section):
    """Where users are kept."""

    db_url: Annotated[str, PlainValidator(forms.users_url)] = ""
    """Empty: in STATE_DIR/subscribers.db, see `edgesip subscriber`. "text:///PATH": a file with a line
    USER:REALM:HA1 for each user, as htdigest writes it, read again when it changes; hashes by SHA-256 and
    by SHA-512-256 may follow, each after a colon."""
    calculate_ha1: bool = False
    """The lines of that file have a password in place of HA1."""

    @model_validator(mode="after")
    def _fits(self) -> AuthDb:
        if self.calculate_ha1 and not self.db_url:
            raise ValueError("calculate_ha1 is for a users file: subscribers.db keeps no passwords")
        return self


class Tm(Section):
    """Transactions; milliseconds. `fr_inv_timer` is timer C (RFC 3261 §16.6 step 11)."""

    fr_timer: Annotated[int, Field(ge=100, le=600_000)] = 30000
    """Milliseconds to wait for any answer at all; then the next hop is tried, or the answer is 408."""
    fr_inv_timer: Annotated[int, Field(ge=1000, le=3_600_000)] = 185000
    """Milliseconds that a phone may ring; then it is cancelled and the caller gets 408."""
    max_inv_lifetime: Annotated[int, Field(ge=1000, le=36_000_000)] = 600000
    """Milliseconds that a call may take until it is answered, whatever is tried meanwhile: several times
    `fr_inv_timer` where targets are tried one after the other."""
    max_noninv_lifetime: Annotated[int, Field(ge=1000, le=3_600_000)] = 32000
    """Milliseconds that any other request may take."""
    wt_timer: Annotated[int, Field(ge=100, le=600_000)] = 5000
    """Milliseconds that a finished transaction is kept to answer repetitions."""
    retr_timer1: Annotated[int, Field(ge=50, le=10_000)] = 500
    """Milliseconds until a message over UDP is sent again (T1), doubled each time."""
    retr_timer2: Annotated[int, Field(ge=50, le=60_000)] = 4000
    """Milliseconds between two repetitions at most (T2)."""
    restart_fr_on_each_reply: bool = True
    """`false`: `fr_inv_timer` runs from the first provisional answer, however often the phone says 180."""
    auto_inv_100: bool = True
    """Every INVITE that is forwarded hears 100 at once, or after 200 ms when a script or a name takes its
    time."""
    auto_inv_100_reason: Annotated[str, PlainValidator(forms.reason)] = (
        "trying -- your call is important to us"
    )
    """The reason phrase of that 100."""
    aggregate_challenges: bool = True
    """A 401 or 407 that goes back after a fork carries the challenges of all branches."""
    cancel_b_method: Annotated[int, Field(ge=0, le=2)] = 1
    """What becomes of a branch that has said nothing yet when its call is cancelled: 0 it counts as 487 at
    once, 1 it gets CANCEL with its first provisional answer, 2 it gets CANCEL at once."""
    unmatched_cancel: Annotated[int, Field(ge=0, le=2)] = 0
    """A CANCEL of a request that we do not know: 0 is answered with 481, 1 goes to the script, whose Forward
    sends it on without a transaction, 2 is dropped."""
    failure_reply_mode: Annotated[int, Field(ge=0, le=3)] = 3
    """Answers that came before a failure hook added targets: 0 may still be chosen, 2 all but those of the
    last targets, 1 and 3 none of them."""
    faked_reply_prio: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Added to the rank of our own 408 in the choice of the best answer; 2000 lets any that came win."""
    local_cancel_reason: bool = True
    """A CANCEL of ours says why (`Reason: SIP;cause=200`)."""
    e2e_cancel_reason: bool = True
    """The Reason of a caller's CANCEL is copied to the branches."""
    remap_503_500: bool = True
    """A 503 that is the best answer goes back as 500 (RFC 3261 §16.7 step 6)."""
    disable_6xx_block: bool = False
    """`true`: a 6xx of one branch ends no other."""
    failover_reply_codes: Annotated[str, PlainValidator(forms.reply_codes)] = ""
    """Answers that, like 503, try the next hop of a name."""
    reply_408_code: Annotated[int, Field(ge=300, le=699)] = 408
    """What a caller gets when nobody answered in time."""
    reply_408_reason: Annotated[str, PlainValidator(forms.reason)] = "Request Timeout"
    """Its reason phrase."""
    default_code: Annotated[int, Field(ge=300, le=699)] = 500
    """What is answered when a failure hook returns `Reply` with a status that is no failure."""
    default_reason: Annotated[str, PlainValidator(forms.reason)] = "Server Internal Error"
    """Its reason phrase."""
    blst_503: bool = False
    """A hop that answers 503 is left alone as long as its Retry-After says (see `dns.use_dst_blocklist`)."""
    blst_503_def_timeout: Annotated[int, Field(ge=0, le=86_400)] = 0
    """Seconds for that when there is no Retry-After; 0 for not at all."""
    blst_503_min_timeout: Annotated[int, Field(ge=0, le=86_400)] = 0
    """Seconds for that at least."""
    blst_503_max_timeout: Annotated[int, Field(ge=0, le=86_400)] = 3600
    """Seconds for that at most."""

    @model_validator(mode="after")
    def _ordered(self) -> Tm:
        if self.max_inv_lifetime < self.fr_timer:
            raise ValueError(f"max_inv_lifetime {self.max_inv_lifetime} is below fr_timer {self.fr_timer}")
        if self.retr_timer2 < self.retr_timer1:
            raise ValueError(f"retr_timer2 {self.retr_timer2} is below retr_timer1 {self.retr_timer1}")
        return self


class Rr(Section):
    """Record-Route and Route."""

    enable_double_rr: Annotated[int, Field(ge=0, le=2)] = 1
    """Two Record-Routes where a call comes in and goes out by different addresses, transports or families: 1;
    always: 2; never: 0, and only for hosts whose addresses all lead everywhere."""
    enable_full_lr: bool = False
    """`;lr=on` instead of `;lr`, for routers that know no parameter without a value."""
    append_fromtag: bool = True
    """`;ftag=` with the caller's tag in the Record-Route; it tells a script the direction of a request."""
    add_username: bool = False
    """The user of the request URI in the Record-Route."""


class Dialog(Section):
    """Calls that pass through us."""

    default_timeout: Annotated[int, Field(ge=10, le=2**31 - 1)] = 43200
    """Seconds after the answer, or after the last request inside the call, that end it: BYE to both sides."""
    max_subscriptions: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """Subscriptions (SUBSCRIBE, REFER) that may be under way; one more is answered with 503."""
    max_user_subscriptions: Annotated[int, Field(ge=1, le=10_000_000)] = 1000
    """Subscriptions of one user, by the From URI."""


class Dns(Section):
    """Names in SIP URIs, as RFC 3263 says, and destinations that are dead. /etc/hosts is asked first."""

    servers: Annotated[tuple[Addr, ...], PlainValidator(forms.servers)] = ()
    """The DNS servers to ask; without them those of /etc/resolv.conf, as it is at the time."""
    dns_retr_time: Annotated[int, Field(ge=1, le=60)] = 1
    """Seconds to wait for one server before the next is asked."""
    dns_retr_no: Annotated[int, Field(ge=1, le=20)] = 4
    """How often one question is asked, of the servers in turn. A call waits for DNS for `dns_retr_time` times
    this at most; then it goes on with what is known, or is answered with 503."""
    dns_slow_query_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    """Milliseconds after which an answer is counted as slow, with a line in the log; 0 for never."""
    dns_try_naptr: bool = True
    """Ask for NAPTR where the URI has neither a port nor a transport. (Kamailio's default is off.)"""
    dns_naptr_ignore_rfc: bool = False
    """`true`: our own preferences below beat the order of NAPTR records. (Kamailio's default is on.)"""
    dns_try_ipv6: bool = True
    """`false`: only IPv4 addresses are asked for, even with an IPv6 listener."""
    dns_udp_pref: Annotated[int, Field(ge=-1, le=1000)] = 30
    """How much UDP is wanted where nothing says which transport; -1 for never. Transports without a listener
    are not used at all."""
    dns_tcp_pref: Annotated[int, Field(ge=-1, le=1000)] = 20
    """The same of TCP."""
    dns_tls_pref: Annotated[int, Field(ge=-1, le=1000)] = 10
    """The same of TLS; what `sips:` wants goes over TLS whatever stands here."""
    dns_srv_lb: bool = True
    """Draw among SRV records of one priority by their weights (RFC 2782); `false`: the heaviest is first.
    (Kamailio's default is off.)"""
    use_dns_failover: bool = True
    """Try the next address when one does not answer, refuses, or says 503; `false`: only the first.
    (Kamailio's default is off.)"""
    use_dns_cache: bool = True
    """Remember answers for as long as they are good."""
    dns_cache_flags: Annotated[int, Field(ge=0, le=7)] = 0
    """Sum of: 1 only IPv4, 2 only IPv6, 4 IPv6 before IPv4."""
    dns_cache_negative_ttl: Annotated[int, Field(ge=0, le=3600)] = 30
    """Seconds, at most, for which it is remembered that a name does not exist; 0 for not at all. That nobody
    answered is remembered for five of them. (Kamailio's default is 60, for both.)"""
    dns_cache_min_ttl: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seconds for which an answer is good at least, whatever DNS says."""
    dns_cache_max_ttl: Annotated[int, Field(ge=1, le=2**31 - 1)] = 2**31 - 1
    """Seconds for which an answer is good at most, whatever DNS says."""
    dns_cache_mem: Annotated[int, Field(ge=1, le=1_000_000)] = 500
    """KiB of memory for answers."""
    dns_cache_gc_interval: Annotated[int, Field(ge=1, le=86_400)] = 120
    """Seconds between two looks for answers that are over."""
    dns_cache_del_nonexp: bool = True
    """What makes room when the memory is full: `true`: the answers that nobody has used for longest; `false`:
    only those that are over. (Kamailio's default is off.)"""
    use_dst_blocklist: bool = True
    """Leave out for a while who did not answer, could not be reached, or said 503 (`tm.blst_503`), while
    there is another place to try. (Kamailio's default is off, and its list has no such exception.)"""
    dst_blocklist_expire: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds for which a destination is left out."""
    dst_blocklist_mem: Annotated[int, Field(ge=1, le=1_000_000)] = 250
    """KiB of memory for them."""
    dst_blocklist_gc_interval: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds between two looks for destinations whose time is over."""

    @model_validator(mode="after")
    def _ordered(self) -> Dns:
        if self.dns_cache_min_ttl > self.dns_cache_max_ttl:
            low, high = self.dns_cache_min_ttl, self.dns_cache_max_ttl
            raise ValueError(f"dns_cache_min_ttl {low} is above dns_cache_max_ttl {high}")
        if self.dns_cache_flags & 3 == 3:
            raise ValueError(f"dns_cache_flags {self.dns_cache_flags}: only IPv4 and only IPv6 is nothing")
        return self


class Siptrace(Section):
    """The last messages and events, remembered for `edgesip trace`."""

    trace_on: bool = True
    """`false`: nothing is remembered until `edgesip rpc siptrace.status on`. (Kamailio's default is off.)"""
    max_octets: Annotated[int, Field(ge=65_536, le=2**32)] = 8_388_608
    """Octets of memory for it; the oldest messages make room for new ones."""
    max_events: Annotated[int, Field(ge=100, le=10_000_000)] = 20_000
    """Messages and events at most."""


class Tls(Section):
    """TLS, version 1.2 at least. Files are PEM; a relative path starts at the profile's own directory. They
    are looked at every second, and taken up again when they have changed.
    """

    certificate: Annotated[Path | None, PlainValidator(forms.path)] = None
    """The certificate that we show, its issuers below it in the same file; `tls:` listeners need it."""
    private_key: Annotated[Path | None, PlainValidator(forms.path)] = None
    """Its key, without a password; without this key it is in the certificate's file."""
    domain: Annotated[tuple[TlsDomain, ...], PlainValidator(forms.tls_domains)] = ()
    """More certificates, each for the clients that ask for its NAME (SNI); the others get the one above."""
    ca_list: Annotated[Path | None, PlainValidator(forms.path)] = None
    """The issuers that we believe; without it the system's (package ca-certificates)."""
    cipher_list: Annotated[str, PlainValidator(forms.ciphers)] = ""
    """Ciphers of TLS 1.2; empty for those with forward secrecy."""
    verify_certificate: bool = True
    """Servers that we connect to must show a certificate from a believed issuer, for the domain that we want
    (RFC 5922); `false` takes any."""
    verify_client: Literal["off", "optional"] = "off"
    """Whether clients are asked for a certificate: one that is shown must be from a believed issuer. Peers
    need one for their connections to be used for our requests as well (RFC 5923)."""
    require_certificate: bool = False
    """Clients must show a certificate from a believed issuer, phones too."""


class Relay(Section):
    """The media relay; its timeouts in seconds.

    `address`: None of a family means the local address of each leg's SIP flow. `advertise` is what
    stands in SDP; after `load` it holds the top key's addresses where the section has none.
    """

    enabled: bool = True
    """`false`: SDP is left as it is and media goes from phone to phone."""
    address: Annotated[tuple[str, ...], PlainValidator(forms.hosts)] = ()
    """Where media ports are opened; without it at the local address of each leg's signalling."""
    advertise: Annotated[tuple[str, ...], PlainValidator(forms.hosts)] = ()
    """The address that phones find in SDP; without it the top key `advertise`, else where the ports are."""
    ports: Annotated[PortRange, PlainValidator(forms.ports)] = PortRange(16384, 32767)
    """UDP ports for media, four to a call with audio; the firewall has to let them in."""
    interface: Annotated[tuple[RelayInterface, ...], PlainValidator(forms_relay.interfaces)] = ()
    """More places for media ports, `[relay.interface.NAME]` each, for scripts to choose: with `address` (one
    of a family), and `advertise` and `ports` where they are not the address and the range above. `internal`
    and `external` are what the flags `i` and `e` mean; see [Two networks](operating.md#two-networks)."""
    path: Literal["auto", "kernel", "user"] = "auto"
    """What carries media that is settled: `kernel`, the kernel alone, and no start where it cannot (it takes
    CAP_BPF and CAP_NET_ADMIN); `user`, this process; `auto`, the kernel where it can. See [Media in the
    kernel](operating.md#media-in-the-kernel)."""
    kernel_hook: Literal["tc", "xdp"] = "tc"
    """Where the kernel takes packets: `tc`, at any interface; `xdp`, before anything else sees them, where
    the interface's driver has that, and at tc elsewhere. tcpdump sees nothing of what goes by XDP."""
    kernel_next_hop: Literal["neigh", "mac"] = "neigh"
    """Who knows the MAC address of the next hop: `neigh`, the kernel looks for each packet; `mac`, it is
    written down when a stream settles and again when it changes, which is faster. XDP always has `mac`."""
    timeout: Annotated[int, Field(ge=1, le=86_400)] = 60
    """Seconds without any media, either way, that end an answered call (see `rtpproxy.timeout_action` and
    `timeout_either`). A new answer counts as media; one that rings is not judged."""
    hold_timeout: Annotated[int, Field(ge=1, le=86_400)] = 3600
    """Seconds of that while the call is on hold; RTCP counts as media then."""
    final_timeout: Annotated[int, Field(ge=0, le=2_592_000)] = 0
    """Seconds after the answer that end a call whatever media it has; 0 for never."""
    record_dir: Annotated[Path | None, PlainValidator(forms.path)] = None
    """The folder for recordings; without it `recordings` in `state_dir`."""
    record_max_size: Annotated[int, Field(ge=1, le=4000)] = 1000
    """Megabytes of one recording at most; it ends there, the call goes on. A WAV takes 115 an hour."""
    record_min_free: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    """Megabytes of the disk that recordings leave free: with less they end, and none begins."""
    remember_calls: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Calls that ended and whose media `edgesip call why` still tells of; some 5 kB each."""
    remember_minutes: Annotated[int, Field(ge=1, le=10_080)] = 60
    """Minutes for which it does."""
