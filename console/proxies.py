"""From which address a request came, where trusted proxies stand in front of the server.

A proxy adds the address it was asked from at the end of X-Forwarded-For; what stands further left may be anybody's
invention. So the list is read from the right for as long as trusted proxies speak.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def client_address(peer: str, forwarded_for: str, trusted: Collection[Network]) -> str:
    """Return the last address that is not a trusted proxy's.

    peer: who has connected.  forwarded_for: the header X-Forwarded-For, several of them joined by commas.
    What is no address ends the reading, and so does the list's own end: then it is the proxy that named nobody.
    """
    known = peer
    if not trusted:
        return known
    waiting = [part.strip() for part in forwarded_for.split(",")]
    while waiting and _is_trusted(known, trusted):
        address = _address(waiting.pop())
        if address is None:
            break
        known = str(address)
    return known


def _is_trusted(address: str, trusted: Collection[Network]) -> bool:
    parsed = _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A socket that speaks both has IPv4 addresses as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address
