"""A Kamailio that needs somebody to relay media: registrar and proxy with nathelper and the rtpproxy module.

Who is called is looked up among the registered, or is whoever the request URI says. Knows nothing of who
answers its module's commands.
"""

from __future__ import annotations

import subprocess

from lab.network import Host, Network
from lab.process import Process

DISABLED = 2
"""Seconds that it does without a relay that did not answer."""

_CONFIG = """#!KAMAILIO
debug=2
log_stderror=yes
children=2
auto_aliases=no
disable_tcp=yes
{listen}
mpath="/usr/lib/x86_64-linux-gnu/kamailio/modules/"

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
loadmodule "rtpproxy.so"
loadmodule "ctl.so"
loadmodule "xlog.so"

modparam("ctl", "binrpc", "unix:{control}")
modparam("nathelper", "received_avp", "$avp(RECEIVED)")
modparam("registrar", "received_avp", "$avp(RECEIVED)")
modparam("rtpproxy", "rtpproxy_sock", "{relay}")
modparam("rtpproxy", "rtpproxy_disable_tout", {disabled})
modparam("rtpproxy", "rtpproxy_tout", 1)
modparam("rtpproxy", "rtpproxy_retr", 3)

request_route {{
    if (!mf_process_maxfwd_header("10")) exit;
    force_rport();
    if (is_method("REGISTER")) {{
        if (nat_uac_test("19")) fix_nated_register();
        save("location");
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        route(INSIDE);
        exit;
    }}
    if (!is_method("INVITE")) {{
        sl_send_reply("405", "Method Not Allowed");
        exit;
    }}
    if (!t_newtran()) exit;
    record_route();
    if (nat_uac_test("19")) set_contact_alias();
    if (uri == myself && !lookup("location")) {{
        t_reply("404", "Not Found");
        exit;
    }}
    if (!rtpproxy_manage("{flags}")) {{
        t_reply("503", "No media relay");
        exit;
    }}
    t_on_reply("ANSWER");
    t_on_failure("FAILED");
    t_relay();
}}

route[INSIDE] {{
    if (!loose_route()) {{
        if (is_method("ACK") && t_check_trans()) t_relay();
        exit;
    }}
    if (nat_uac_test("19")) set_contact_alias();
    handle_ruri_alias();
    if (is_method("BYE")) xlog("L_NOTICE", "relay says: $rtpstat\\n");
    if (is_method("INVITE|UPDATE|BYE") || (is_method("ACK") && has_body("application/sdp"))) {{
        rtpproxy_manage("{flags}");
    }}
    if (is_method("INVITE")) {{
        if (is_audio_on_hold()) {{
            rtpproxy_stream2uas("{music}", "-1");
        }} else {{
            rtpproxy_stop_stream2uas();
        }}
    }}
    t_on_reply("ANSWER");
    t_relay();
}}

onreply_route[ANSWER] {{
    if (nat_uac_test("1")) set_contact_alias();
    if (has_body("application/sdp")) rtpproxy_manage("{flags}");
}}

failure_route[FAILED] {{
    rtpproxy_manage("");
}}
"""


class Kamailio:
    """One on `host`, at its addresses, port 5060. `relay` is where its module sends commands, `flags` are
    those of every `rtpproxy_manage`, `music` is what a held party hears.
    """

    def __init__(
        self,
        network: Network,
        host: Host,
        relay: str = "udp:127.0.0.1:22222",
        flags: str = "co",
        music: str = "music",
    ) -> None:
        self._control = network.directory / "kamailio.ctl"
        file = network.directory / "kamailio.cfg"
        listen = f"listen=udp:{host.address}:5060\nlisten=udp:[{host.address6}]:5060"
        file.write_text(
            _CONFIG.format(
                listen=listen, control=self._control, relay=relay, flags=flags, music=music, disabled=DISABLED
            )
        )
        self.process: Process = network.start(
            host, "kamailio", "kamailio", "-f", str(file), "-DD", "-E", "-m", "32", "-M", "4"
        )
        self.process.wait_for("rtp proxy <.*> found", deadline=20.0)

    def rpc(self, *arguments: str) -> str:
        """What `kamcmd` says to this."""
        done = subprocess.run(
            ["kamcmd", "-s", f"unix:{self._control}", *arguments],
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
