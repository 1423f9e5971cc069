"""Profiles: what may stand in them, and how a mistake is told."""

from pathlib import Path

import pytest

from edgesip.forms import TlsDomain
from edgesip.places import socket_in
from edgesip.profile import (
    BUILT_IN,
    Advertised,
    ConfigError,
    Listen,
    PortRange,
    Profile,
    Upstream,
    available,
    load,
)

STATE = Path("/tmp/edgesip-test")


def write(directory: Path, text: str = "", name: str = "mine") -> Path:
    (directory / "route.py").write_text("")
    file = directory / f"{name}.toml"
    file.write_text('route = "route.py"\n' + text)
    return file


def read(directory: Path, text: str = "", **options: object) -> Profile:
    return load(str(write(directory, text)), default_state_dir=STATE, **options)  # type: ignore[arg-type]


def refusal(directory: Path, text: str = "", **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(directory, text, **options)
    return str(caught.value)


def test_an_almost_empty_profile_has_the_documented_defaults(tmp_path: Path) -> None:
    profile = read(tmp_path)
    assert profile.listen == (Listen("udp", "0.0.0.0", 5060),)
    assert (profile.advertise, profile.domains, profile.upstream) == ((), (), None)
    assert profile.upstream_users.pattern == r"\+?[0-9*#]+"
    assert profile.state_dir == STATE
    assert profile.route == tmp_path / "route.py"
    assert (profile.auth.enabled, profile.auth.realm) == (True, "edgesip")
    tm = profile.tm
    assert (tm.fr_timer, tm.fr_inv_timer, tm.wt_timer) == (30000, 185000, 5000)
    assert (tm.retr_timer1, tm.retr_timer2, tm.max_inv_lifetime) == (500, 4000, 600000)
    assert profile.rr.model_dump() == {
        "enable_double_rr": 1,
        "enable_full_lr": False,
        "append_fromtag": True,
        "add_username": False,
    }
    assert profile.nathelper.natping_interval == 25
    assert profile.dialog.default_timeout == 43200
    assert (profile.relay.ports, profile.relay.path, profile.relay.timeout) == (
        PortRange(16384, 32767),
        "auto",
        60,
    )
    assert profile.location_db == STATE / "location.db"
    assert profile.subscribers_db == STATE / "subscribers.db"
    assert profile.socket == STATE / "edgesip.sock"


def test_nothing_can_be_changed_after_the_load(tmp_path: Path) -> None:
    profile = read(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        profile.tm.wt_timer = 1
    with pytest.raises(ValueError, match="frozen"):
        profile.domains = ("a",)


def test_the_built_in_profile_says_what_the_models_say(tmp_path: Path) -> None:
    """Whoever reads nat-sbc.toml reads the defaults, and finds every key."""
    text = (BUILT_IN / "nat-sbc.toml").read_text().replace("nat_sbc.py", "route.py")
    profile = read(tmp_path, text.split("\n", 1)[1].replace('route = "route.py"', ""))
    assert profile.model_copy(update={"origins": {}}) == read(tmp_path).model_copy(update={"origins": {}})
    placed = ("name", "file", "socket", "origins")
    for name, field in Profile.model_fields.items():
        keys = getattr(field.annotation, "model_fields", [] if name in placed else [name])
        for key in keys:
            forms = (f"\n{key} =", f"\n# {key} =", f"\n# [{name}.{key}.")
            assert any(form in text for form in forms), f"{name}.{key}"


def test_every_form_is_read(tmp_path: Path) -> None:
    profile = read(
        tmp_path,
        """
        listen = ["udp:192.0.2.1:5060", "UDP:127.0.0.1:5070"]
        advertise = "203.0.113.5:5062"
        domains = ["Example.ORG", "sip.example.net"]
        upstream = "sip:gw.example.net:5080"
        upstream_users = '00[0-9]+'
        state_dir = "/var/lib/other"
        permissions = {trusted = ["198.51.100.7", "10.0.0.0/8", "2001:db8::/32"]}
        usrloc.db_url = ""
        [relay]
        ports = "20000-20099"
        address = "192.0.2.1"
        """,
    )
    assert profile.listen == (Listen("udp", "192.0.2.1", 5060), Listen("udp", "127.0.0.1", 5070))
    assert profile.advertise == (Advertised("203.0.113.5", 5062),)
    assert profile.advertised_for("192.0.2.1") == Advertised("203.0.113.5", 5062)
    assert profile.advertised_for("2001:db8::1") is None
    assert profile.domains == ("example.org", "sip.example.net")
    assert profile.upstream == Upstream("gw.example.net", 5080)
    assert str(profile.upstream) == "sip:gw.example.net:5080"
    assert profile.state_dir == Path("/var/lib/other")
    assert profile.location_db is None
    assert profile.relay.address == ("192.0.2.1",)
    assert profile.relay.advertise == ("203.0.113.5",), "the top key, unless the section has its own"
    assert [
        profile.permissions.trusts(ip) for ip in ("198.51.100.7", "10.9.9.9", "11.0.0.1", "2001:db8::5")
    ] == [
        True,
        True,
        False,
        True,
    ]
    assert profile.permissions.trusts("::ffff:10.0.0.1"), "another spelling of the same address"


def test_the_command_line_wins(tmp_path: Path) -> None:
    profile = read(
        tmp_path,
        'listen = ["udp:0.0.0.0:5060"]\n[tm]\nwt_timer = 4000\n',
        sets=[
            "tm.wt_timer=500",
            "auth.enabled=no",
            "permissions.trusted=10.0.0.0/8, 192.0.2.1",
            "upstream=sip:192.0.2.9",
            "relay.advertise=",
            "auth.realm=a=b",
        ],
        listen=["udp:127.0.0.1:5090,udp:127.0.0.2:5090", "udp:127.0.0.3:5090"],
        advertise=["203.0.113.5"],
        state_dir=tmp_path / "state",
        socket=tmp_path / "s.sock",
    )
    assert profile.tm.wt_timer == 500
    assert not profile.auth.enabled
    assert [str(network) for network in profile.permissions.trusted] == ["10.0.0.0/8", "192.0.2.1/32"]
    assert profile.upstream == Upstream("192.0.2.9", None)
    assert [listen.host for listen in profile.listen] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert profile.relay.advertise == (), "said to be none, although there is a top one"
    assert profile.auth.realm == "a=b"
    assert profile.state_dir == tmp_path / "state"
    assert profile.socket == tmp_path / "s.sock"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        (
            "\n[registrar]\nmin_expire = 60\n",
            4,
            "unknown key registrar.min_expire; did you mean registrar.min_expires?",
        ),
        ("[registar]\nmin_expires = 60\n", 2, "unknown key registar; did you mean [registrar]?"),
        ("registrar.min_expire = 60\n", 2, "did you mean registrar.min_expires?"),
        ("\nregistrar = {min_expire = 60}\n", 3, "did you mean registrar.min_expires?"),
        ('lisen = ["udp:0.0.0.0:5060"]\n', 2, "unknown key lisen; did you mean listen?"),
        ('realm = "x"\n', 2, "unknown key realm; did you mean auth.realm?"),
        ("zzzz = 1\n", 2, "unknown key zzzz; there are listen, "),
        ("registrar = 5\n", 2, "registrar is a section"),
        ("[listen]\n", 2, "listen: must be a text or a list of texts"),
        ("\n\n[tm]\n# wt_timer = 3\n wt_timer = 'x'\n", 6, "tm.wt_timer: must be a whole number, not 'x'"),
        ("[tm]\nwt_timer = 5.5\n", 3, "tm.wt_timer: must be a whole number, not 5.5"),
        ("[tm]\nwt_timer = true\n", 3, "tm.wt_timer: must be a whole number"),
        ("[auth]\nenabled = 1\n", 3, "auth.enabled: must be true or false, not 1"),
        ("[tm]\nwt_timer = 0\n", 3, "tm.wt_timer: "),
        ("[tm]\nwt_timer = 1\nwt_timer = 2\n", 4, "overwrite"),
        ("listen = [\n", 3, ""),
        ('listen = "ws:0.0.0.0:5061"\n', 2, "this version listens on udp, tcp and tls only"),
        ("[tls]\ncertficate = 'x'\n", 3, "unknown key tls.certficate; did you mean tls.certificate?"),
        ("[tls]\ndomain = 'x'\n", 3, "tls.domain: must be sections"),
        ("[tls]\n[tls.domain.a]\nkey = 'x'\n", 3, "tls.domain: a: unknown key key"),
        ("[tls.domain.'a.b']\nprivate_key = 'x'\n", 2, "tls.domain: a.b: certificate is missing"),
        ("[tls.domain.'-a']\ncertificate = 'x'\n", 2, "tls.domain: '-a' is not a domain name"),
        ("[tls.domain]\ncertificate = 'x'\n", 2, "tls.domain: must be a section with a name of its own"),
        ("[tls]\nverify_client = 'maybe'\n", 3, "tls.verify_client: "),
        ('listen = "udp:[fe80::1]:5060"\n', 2, "a link-local address"),
        ('listen = "udp:localhost:5060"\n', 2, "'localhost' is not an IP address"),
        ('listen = "udp:127.1:5060"\n', 2, "'127.1' is not an IP address"),
        ('listen = "5060"\n', 2, "is not TRANSPORT:ADDR:PORT"),
        ('listen = "udp:0.0.0.0:"\n', 2, "is not TRANSPORT:ADDR:PORT"),
        ('listen = "udp:0.0.0.0:99999"\n', 2, "is not TRANSPORT:ADDR:PORT"),
        ('listen = "foo:0.0.0.0:5060"\n', 2, "'foo' is no transport"),
        ("listen = []\n", 2, "must name at least one"),
        ('listen = ["udp:0.0.0.0:5060", "udp:0.0.0.0:5060"]\n', 2, "is there twice"),
        ('advertise = ["192.0.2.1", "192.0.2.2"]\n', 2, "at most one address per family"),
        ('advertise = "0.0.0.0"\n', 2, "not an address that others can send to"),
        ('advertise = "example.org"\n', 2, "is not an IP address"),
        ('advertise = "2001:db8::1"\n', 2, "is not ADDR or ADDR:PORT"),
        ('advertise = "[2001:db8::1],[2001:db8::2]"\n', 2, "at most one address per family"),
        ('domains = ["exa mple"]\n', 2, "is not a domain name"),
        ('upstream = "gw.example.net"\n', 2, "is not sip:HOST or sip:HOST:PORT"),
        ('upstream = "sips:gw.example.net"\n', 2, "is not sip:HOST or sip:HOST:PORT"),
        ('upstream = "sip:a@gw.example.net"\n', 2, "is not a host name"),
        ('upstream = "sip:gw.example.net;transport=sctp"\n', 2, "there may stand ;transport=udp, tcp or tls"),
        ('upstream = "sip:gw.example.net;tcp"\n', 2, "there may stand ;transport=udp, tcp or tls"),
        ('[dns]\nservers = ["ns.example"]\n', 3, "is not ADDR or ADDR:PORT"),
        ('[dns]\nservers = ["192.0.2.53", "192.0.2.53:53"]\n', 3, "is there twice"),
        ("[dns]\ndns_cache_flags = 3\n", 3, "only IPv4 and only IPv6 is nothing"),
        ("[dns]\ndns_cache_min_ttl = 60\ndns_cache_max_ttl = 30\n", 3, "is above dns_cache_max_ttl 30"),
        ("upstream_users = '[0-9'\n", 2, "is not a regular expression"),
        ('[permissions]\ntrusted = "10.0.0.1/8"\n', 3, "did you mean 10.0.0.0/8?"),
        ('[permissions]\ntrusted = "gw.example"\n', 3, "neither an IP address nor a network"),
        ('[relay]\nports = "2000-1000"\n', 3, "LOW below HIGH"),
        ('[relay]\nports = "20001-20004"\n', 3, "no room for one call"),
        ("[relay]\nports = 20000\n", 3, 'must be "LOW-HIGH"'),
        ('[relay]\npath = "fast"\n', 3, "relay.path: "),
        ('[relay]\nkernel_hook = "ingress"\n', 3, "relay.kernel_hook: "),
        ('[usrloc]\ndb_url = "mysql://x"\n', 3, "this version knows"),
        ("[auth]\nrealm = 'a\"b'\n", 3, "auth.realm: "),
        ("\n[registrar.foo]\n", 3, "unknown key registrar.foo; did you mean registrar."),
        ("\n[registrar . 'foo'.bar]\nx = 1\n", 3, "unknown key registrar.foo"),
        ("[foo.bar]\n", 2, "unknown key foo"),
        ("\ntm.wt_timer.x = 5\n", 3, "tm.wt_timer: must be a whole number"),
        ('state_dir = "~no-such-user/x"\n', 2, "~ stands for a home directory that there is not"),
        ('advertise = "2001:db8::1:5060"\n', 2, "or [2001:db8::5]:5060"),
        ('[relay]\naddress = ["2001:db8::1", "2001:db8::2"]\n', 3, "at most one address per family"),
        ("[registrar]\nmin_expires = 7000\n", 3, "min_expires 7000 is above default_expires 3600"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_nearest_name(
    tmp_path: Path, text: str, line: int, told: str
) -> None:
    message = refusal(tmp_path, text)
    assert message.startswith(f"{tmp_path}/mine.toml:{line}: ")
    assert told in message


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("tm.wt_timr=5", "did you mean tm.wt_timer?"),
        ("tmm.wt_timer=5", "unknown section tmm; did you mean tm?"),
        ("wt_timer=5", "did you mean tm.wt_timer?"),
        ("tm=5", "tm is a section"),
        ("tm.wt_timer=fast", "tm.wt_timer: must be a whole number, not 'fast'"),
        ("tm.wt_timer=5_000", "must be a whole number"),
        ("tm.wt_timer=٣", "must be a whole number"),
        ("auth.enabled=maybe", "auth.enabled: must be true or false, not 'maybe'"),
        ("relay.path=fast", "relay.path: "),
        ("listen=udp:0.0.0.0:x", "is not TRANSPORT:ADDR:PORT"),
        ("socket=/tmp/x", "unknown key socket"),
        ("tm.wt_timer", "must be KEY=VALUE"),
        ("a.b.c=1", "unknown section a.b"),
        (".listen=udp:127.0.0.1:5060", "must be KEY=VALUE or SECTION.KEY=VALUE"),
        ("tm.=5", "must be KEY=VALUE or SECTION.KEY=VALUE"),
        ("registrar.max_expires=100", "default_expires 3600 is above max_expires 100"),
    ],
)
def test_a_mistake_on_the_command_line_names_the_option(tmp_path: Path, wish: str, told: str) -> None:
    message = refusal(tmp_path, sets=[wish])
    assert message.startswith(f"--set {wish}: ")
    assert told in message


def test_keys_that_do_not_fit_together_are_told_where_the_command_line_changed_one(tmp_path: Path) -> None:
    whole = "[registrar]\nmax_contacts = 3\ndefault_expires = 3600\nmin_expires = 60\nmax_expires = 7200\n"
    message = refusal(tmp_path, whole, sets=["registrar.max_contacts=5", "registrar.max_expires=100"])
    assert message.startswith("--set registrar.max_expires=100: ")
    message = refusal(tmp_path, whole.replace("60\n", "9999\n"), sets=["registrar.max_contacts=5"])
    assert message.startswith(f"{tmp_path}/mine.toml:4: "), "a key of the message, not of the command line"


def test_both_families_and_transports_are_read(tmp_path: Path) -> None:
    profile = read(
        tmp_path,
        """
        listen = ["udp:[::]:5060", "tcp:[2001:DB8::1]:5060", "tcp:192.0.2.1:5060"]
        advertise = ["203.0.113.5", "[2001:db8::5]:5062"]
        [relay]
        address = ["192.0.2.1", "2001:db8::1"]
        """,
    )
    assert profile.listen == (
        Listen("udp", "::", 5060),
        Listen("tcp", "2001:db8::1", 5060),
        Listen("tcp", "192.0.2.1", 5060),
    )
    assert [str(one) for one in profile.listen[:2]] == ["udp:[::]:5060", "tcp:[2001:db8::1]:5060"]
    assert profile.advertised_for("192.0.2.1") == Advertised("203.0.113.5", None)
    assert profile.advertised_for("2001:db8::1") == Advertised("2001:db8::5", 5062)
    assert profile.relay.address == ("192.0.2.1", "2001:db8::1")
    assert profile.relay.advertise == ("203.0.113.5", "2001:db8::5")
    wished = read(tmp_path, sets=["relay.address=[2001:db8::1]", "relay.advertise=2001:db8::5"])
    assert (wished.relay.address, wished.relay.advertise) == (("2001:db8::1",), ("2001:db8::5",))


def test_without_a_default_the_state_directory_must_be_named(tmp_path: Path) -> None:
    file = str(write(tmp_path))
    with pytest.raises(ConfigError, match="name one by --state-dir"):
        load(file, default_state_dir=None)
    assert load(file, default_state_dir=None, state_dir=STATE).state_dir == STATE


def test_a_listener_without_a_port_has_that_of_its_transport(tmp_path: Path) -> None:
    wanted = ["udp:192.0.2.1", "tls:192.0.2.1", "TLS:[2001:db8::1]"]
    profile = read(tmp_path, listen=wanted)
    shown = [str(one) for one in profile.listen]
    assert shown == ["udp:192.0.2.1:5060", "tls:192.0.2.1:5061", "tls:[2001:db8::1]:5061"]


def test_certificates_are_found_beside_the_profile(tmp_path: Path) -> None:
    profile = read(
        tmp_path,
        """
        [tls]
        certificate = "c.pem"
        ca_list = "/etc/ca.pem"
        [tls.domain."SIP.example.org"]
        certificate = "keys/d.pem"
        [tls.domain.b]
        certificate = "/b.pem"
        private_key = "b.key"
        """,
    )
    tls = profile.tls
    assert (tls.certificate, tls.private_key) == (tmp_path / "c.pem", None)
    assert tls.ca_list == Path("/etc/ca.pem")
    assert tls.domain == (
        TlsDomain("sip.example.org", tmp_path / "keys/d.pem", tmp_path / "keys/d.pem"),
        TlsDomain("b", Path("/b.pem"), tmp_path / "b.key"),
    )


def test_a_bad_listen_option_is_told_as_such(tmp_path: Path) -> None:
    assert refusal(tmp_path, listen=["wss:0.0.0.0:443"]).startswith("--listen wss:0.0.0.0:443: listen: ")


def test_the_place_of_a_key_is_kept_for_messages_about_its_value(tmp_path: Path) -> None:
    profile = read(
        tmp_path, "[tm]\nwt_timer = 500\n", sets=["relay.timeout=9"], listen=["udp:127.0.0.1:5060"]
    )
    assert profile.where("tm.wt_timer") == f"{tmp_path}/mine.toml:3"
    assert profile.where("relay.timeout") == "--set relay.timeout=9"
    assert profile.where("listen") == "--listen udp:127.0.0.1:5060"
    assert profile.where("tm.fr_timer") == f"{tmp_path}/mine.toml"


def test_unknown_profiles_name_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, name="office")
    with pytest.raises(ConfigError, match=r"no profile is called 'ofice'; did you mean office\?"):
        load("ofice", default_state_dir=STATE, search=[tmp_path, BUILT_IN])
    with pytest.raises(ConfigError, match="no such profile file"):
        load("./office", default_state_dir=STATE)


def test_the_first_directory_of_the_search_path_wins(tmp_path: Path) -> None:
    mine = write(tmp_path, name="nat-sbc")
    assert available([tmp_path, BUILT_IN])["nat-sbc"] == mine
    assert load("nat-sbc", default_state_dir=STATE, search=[tmp_path, BUILT_IN]).file == mine


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"route = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(str(tmp_path / "x.toml"), default_state_dir=STATE)
    (tmp_path / "y.toml").write_text("")
    with pytest.raises(ConfigError, match="route: is missing"):
        load(str(tmp_path / "y.toml"), default_state_dir=STATE)
    (tmp_path / "z.toml").write_text("\nroute = 'nowhere.py'")
    with pytest.raises(ConfigError, match=r"z.toml:2: route: there is no file .*/nowhere.py"):
        load(str(tmp_path / "z.toml"), default_state_dir=STATE)


def test_a_socket_path_has_107_bytes_at_most() -> None:
    assert socket_in(Path("/"), Path("/" + "x" * 106)) == Path("/" + "x" * 106)
    with pytest.raises(ConfigError, match="at most 107 bytes, this has 108"):
        socket_in(Path("/"), Path("/" + "x" * 107))
    with pytest.raises(ConfigError, match="107"):
        socket_in(Path("/" + "é" * 50))


def test_an_upstream_may_name_its_transport(tmp_path: Path) -> None:
    profile = read(tmp_path, 'upstream = "sip:GW.example.net:5080;transport=TCP"\n')
    assert profile.upstream == Upstream("gw.example.net", 5080, "tcp")
    assert str(profile.upstream) == "sip:gw.example.net:5080;transport=tcp"


def test_dns_servers_have_addresses_and_perhaps_ports(tmp_path: Path) -> None:
    profile = read(tmp_path, '[dns]\nservers = ["192.0.2.53", "2001:db8::53", "[2001:db8::54]:5353"]\n')
    assert profile.dns.servers == (("192.0.2.53", 53), ("2001:db8::53", 53), ("2001:db8::54", 5353))
