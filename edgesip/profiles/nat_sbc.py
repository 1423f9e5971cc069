"""The edge of a small operator: phones behind any NAT register here and call each other.

Strangers who flood us, or say that they are scanners, get no answer; whoever goes on doing wrong is not heard
for a while. A phone that registers proves its password; if it is behind a NAT, we remember where it really is
and keep that way open. Anybody who opens anything else proves a password too, unless it is the upstream or a
trusted machine. Who calls is who proved the password: what else a phone claims is taken away, the upstream is
told, and who wants to stay unknown is not named to other phones. We route for our own domains only. A call
rings, and a message arrives, wherever its user is registered; a user who has no phone on is unavailable; what
looks like a number of the outside world goes to the upstream, but never back to it; anything else does not
exist. Presence that is published and the count of waiting messages are kept by a server, not by phones, so
these go to the upstream. Contacts of phones behind a NAT are marked with the address to find them at, both
ways, and the media of every call goes through us.
"""

from edgesip.script import Call, Decision, Drop, Forward, Reply, ReplyCall, Save

# nat_uac_test: 1 private Contact, 2 Via is not the source, 16 source port is not the Via's
NATED = 1 + 2 + 16


def request(call: Call) -> Decision:
    """Whatever opens something: registrations, calls, messages, questions."""
    if call.is_flooding() or call.is_scanner():
        return Drop()
    if call.is_foreign():
        return Reply(403, "Not our domain")
    if call.method == "REGISTER":
        return register(call)
    if call.method == "OPTIONS" and not call.ruri_user:
        return call.options_reply()
    if not call.from_upstream() and (refusal := call.proxy_authenticate()):
        return refusal
    call.strip_identity()
    if call.nat_uac_test(NATED):
        call.set_contact_alias()
    call.rtpproxy_manage("f")
    return route(call)


def register(call: Call) -> Decision:
    """A phone says where it is."""
    if refusal := call.www_authenticate():
        return refusal
    if call.nat_uac_test(NATED):
        call.fix_nated_register()
    return Save()


def route(call: Call) -> Decision:
    """Who is meant?"""
    if call.method == "PUBLISH" or (call.method == "SUBSCRIBE" and call.hdr("Event") == "message-summary"):
        call.assert_identity()
        return Forward(keeper) if (keeper := call.upstream(anybody=True)) else Reply(404)
    if phones := call.lookup():
        call.apply_privacy()
        return Forward(phones)
    if call.is_subscriber():
        return Reply(480)
    if outside := call.upstream():
        call.assert_identity()
        return Forward(outside)
    return Reply(404)


def in_dialog(call: Call) -> Decision:
    """What goes on inside a call: from either side, to wherever the other side really is."""
    call.consume_credentials()
    call.strip_identity()
    if call.nat_uac_test(NATED):
        call.set_contact_alias()
    if call.is_gruu() and call.is_myself() and (phones := call.lookup()):
        return Forward(phones)
    call.handle_ruri_alias()
    return Forward()


def reply(call: ReplyCall) -> None:
    """An answer on its way back."""
    call.strip_identity()
    if call.nated or call.nat_uac_test(1):
        call.set_contact_alias()
