"""What the registrar goes by: its settings, and how a REGISTER is refused.

Values alone; what they mean is known where they are used.
"""

from __future__ import annotations

from dataclasses import dataclass

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[registrar]` slice: seconds, contacts per address of record, percents; 0 means none.

    `default_q` is 0 to 1000, -1 for none. `path_mode`: 0 kept and not told, 1 told to who supports it, 2
    refused for who does not. `outbound_mode`: 0 none, 1 supported, 2 required.
    """

    default_expires: int = 3600
    min_expires: int = 60
    max_expires: int = 0
    max_contacts: int = 0
    default_expires_range: int = 0
    expires_range: int = 0
    min_expires_mode: int = 1
    default_q: int = -1
    retry_after: int = 0
    contact_max_size: int = 512
    received_param: str = "received"
    sock_hdr_name: str = ""
    use_path: bool = False
    path_mode: int = 2
    path_use_received: bool = False
    gruu_enabled: bool = True
    outbound_mode: int = 0
    regid_mode: int = 0
    flow_timer: int = 0
    service_route: tuple[str, ...] = ()


class Refusal(Exception):
    """A REGISTER that ends here; never leaves the registrar."""

    def __init__(self, status: int, why: str, reason: str = "", headers: Fields = ()) -> None:
        super().__init__(why)
        self.status = status
        self.reason = reason
        self.headers = (*headers, ("P-Registrar-Error", why))
