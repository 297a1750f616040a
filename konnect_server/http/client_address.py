"""Whose request it is: the socket's other end, or what trusted proxies say of it."""

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class ClientAddress:
    """Reads ``X-Forwarded-For`` from the right, past every proxy that is trusted: what stands further left anybody may
    have written."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """*trusted_proxies*: addresses or networks.

        Raises:
            ValueError: One of them is neither.
        """
        self._trusted: list[Network] = [ipaddress.ip_network(text, strict=False) for text in trusted_proxies]

    def key(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """What limits are counted under: an IPv4 address, or the /64 of an IPv6 one (which a single household has).

        *peer*: the socket's other end. *forwarded_for*: the values of all such headers, in order.
        """
        address = _address(peer)
        if address is None:
            return peer
        hops = [hop for value in forwarded_for for hop in value.split(",")]
        while hops and self._is_trusted(address):
            before = _address(hops.pop())
            if before is None:  # a trusted proxy that writes nonsense: stay with the proxy
                break
            address = before
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((int(address), 64), strict=False))
        return str(address)

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    text = text.strip().strip('"')
    if text.startswith("["):  # "[2001:db8::1]:4711"
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # "192.0.2.1:4711"
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
