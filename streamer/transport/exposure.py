"""Whether others than the users of this machine can reach an address."""

from __future__ import annotations

import ipaddress

from streamer.errors import UserError

__all__ = ["is_loopback", "refuse_exposed", "served_at"]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host, by its name or address alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def served_at(address: str, own: str) -> str:
    """Return where a node serves what it would serve to its own machine alone.

    Parameters
    ----------
    address
        A host, or an address of ZeroMQ.
    own
        Address of the node's host, as the other hosts of the run reach it; empty: there is one.
    """
    scheme, separator, rest = address.rpartition("://")
    host, colon, port = rest.rpartition(":") if separator else (rest, "", "")
    if own and is_loopback(host):
        return f"{scheme}{separator}{own}{colon}{port}"
    return address


_MAKE_KEYS = "make some with 'launch.py keys DIR' and set publish.keys=DIR, or"


def refuse_exposed(address: str, advice: str = _MAKE_KEYS) -> None:
    """Refuse an address of ZeroMQ that other machines reach.

    Parameters
    ----------
    advice
        What to do that is better than to say that the network is one's own.

    Raises
    ------
    UserError
        They do; what to do.
    """
    scheme, _, rest = address.partition("://")
    if scheme in ("ipc", "inproc") or (scheme == "tcp" and is_loopback(rest.rpartition(":")[0])):
        return
    raise UserError(
        f"{address} can be reached by others, and there are no keys: {advice} set insecure=true "
        "where nobody else is on the network"
    )
