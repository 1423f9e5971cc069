"""What `[tls]` means to the rooms: the certificates of this server, loaded."""

from __future__ import annotations

import ssl

from edgesip.places import ConfigError
from edgesip.profile import Profile
from edgesip.signal.net.tls_files import CertificateError, Certificates, Pair, TlsSettings


def pairs_of(profile: Profile) -> tuple[Pair, ...]:
    """Certificates and their keys, the default one first; none without `tls.certificate`."""
    section = profile.tls
    if section.certificate is None:
        return ()
    own = Pair("", section.certificate, section.private_key or section.certificate)
    named = (Pair(one.name, one.certificate, one.private_key or one.certificate) for one in section.domain)
    return (own, *named)


def certificates_of(profile: Profile, wanted: bool) -> Certificates | None:
    """The certificates; None where there are none. Raises `ConfigError`, also when they are `wanted`."""
    section = profile.tls
    pairs = pairs_of(profile)
    if not pairs:
        if wanted or section.domain:
            where = profile.where("listen" if wanted else "tls.domain")
            raise ConfigError(f"{where}: TLS needs a certificate: set tls.certificate and tls.private_key")
        return None
    clients = ssl.CERT_OPTIONAL if section.verify_client == "optional" else ssl.CERT_NONE
    settings = TlsSettings(
        pairs,
        section.ca_list,
        section.cipher_list,
        section.verify_certificate,
        ssl.CERT_REQUIRED if section.require_certificate else clients,
    )
    try:
        return Certificates(settings)
    except CertificateError as error:
        raise ConfigError(f"{profile.where(error.key)}: {error.key}: {error}") from None
