"""Which addresses endpoints may have: the check of a URL when it is registered, and of each address that is used."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from core.errors import InvalidField
from core.settings import Settings

URL_LONGEST = 2_048
HOST_LONGEST = 253
PORT_LARGEST = 65_535

# Tables of our own, as `is_global` of Python 3.11 counts multicast, all of 64:ff9b::/96 and much of 192.0.0.0/24 as
# global. After IANA's registries of special-purpose addresses.
_REFUSED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network; connecting to it reaches this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a provider's NAT, and the metadata of one cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # public in form, but inside Azure it is the host with its metadata
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # IETF protocols, and the metadata of one cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # IETF protocols: benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
# All else in IPv6 is refused: loopback, ::/96 and the other forms of IPv4, private, link-local, site-local, multicast.
_GLOBAL_UNICAST = ip_network("2000::/3")
# 64:ff9b:1::/48 is no such prefix: where it has the IPv4 address is up to each network, so it is refused as a whole.
_NAT64 = ip_network("64:ff9b::/96")

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# What the C library takes as a number. A name that ends in one is an address to it, in whatever spelling.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(:(?P<port>[1-9][0-9]{0,4}))?")
_UNUSABLE = re.compile(r"[^!-~]|\\")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the operator allows endpoints: http:// addresses, and networks that are not global."""

    allow_http: bool
    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, settings: Settings) -> AddressRules:
        """The rules that the settings state."""
        return cls(settings.endpoint_http, tuple(map(ip_network, settings.allowed_networks)))


def is_allowed(address: Address, rules: AddressRules) -> bool:
    """Whether messages may be sent to this address: a global unicast one, or one in a network that the operator lists.

    An IPv6 address in which an IPv4 address is embedded is as good as that one, since a translator or a tunnel, or
    this host itself, carries to it what is sent there. Of several, all must be allowed.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    if any(address in network for network in rules.networks):
        return True
    if embedded := _embedded(address):
        return all(is_allowed(each, rules) for each in embedded)
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _REFUSED)


def check_url(url: str, rules: AddressRules) -> str:
    """The URL of an endpoint as it will be used; raises InvalidField for one that messages can't be sent to.

    Names are not resolved here: what they resolve to is checked whenever a message is sent.
    """
    if len(url) > URL_LONGEST:
        raise _invalid(f"must have at most {URL_LONGEST:,} characters")
    if _UNUSABLE.search(url):
        raise _invalid(
            "must have no spaces, control characters or backslashes, and be in ASCII: write the host of an "
            "international name as xn--..., and other characters as %XX"
        )
    scheme, authority, path, query = _split(url)
    if scheme not in (("https", "http") if rules.allow_http else ("https",)):
        http = " or http://" if rules.allow_http else "; for development MILEPOST_ENDPOINT_HTTP=true takes http:// too"
        raise _invalid(f"must begin with https://{http}")
    if "#" in url:
        raise _invalid("must have no fragment: leave out the # and what follows it")
    if "@" in authority:
        raise _invalid("must have no user name or password: check the signature of each message instead")
    found = _AUTHORITY.fullmatch(authority)
    if found is None or not found["host"] or int(found["port"] or 1) > PORT_LARGEST:
        raise _invalid(
            f"must have a host, and a port from 1 to {PORT_LARGEST} or none: https://hooks.example.com/goals"
        )
    host = _check_host(found["host"], rules)
    port = "" if found["port"] in (None, {"https": "443", "http": "80"}[scheme]) else f":{found['port']}"
    return f"{scheme}://{host}{port}{path or '/'}{'?' if query else ''}{query}"


def literal_address(host: str) -> Address | None:
    """The address that a URL's host is, in its usual spelling, in brackets or not; None for a name."""
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _split(url: str) -> tuple[str, str, str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _invalid("must be an address such as https://hooks.example.com/goals") from None
    return parts.scheme, parts.netloc.lower(), parts.path, parts.query


def _check_host(host: str, rules: AddressRules) -> str:
    """The host as it will be used: a name, or an address in its canonical spelling."""
    address = literal_address(host)
    if (host[0] == "[") != isinstance(address, IPv6Address):
        raise _invalid("must have an IPv6 address, without a zone, where it has [brackets]")
    if address is None:
        _check_name(host, rules)
        return host
    if not is_allowed(address, rules):
        raise _invalid(f"must have a public address, which {address} is not")
    return str(address) if isinstance(address, IPv4Address) else f"[{address}]"


def _check_name(name: str, rules: AddressRules) -> None:
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 2130706433, 0177.0.0.1 and 0x7f.1 are all 127.0.0.1. Nobody needs them, so none is worked out.
        raise _invalid("must have a name, or an address as four decimal numbers with dots between")
    if len(name) > HOST_LONGEST or not all(map(_LABEL.fullmatch, labels)):
        raise _invalid("must have a valid host name, without a dot at its end: https://hooks.example.com/goals")
    if labels[-1] == "localhost" and not any(is_allowed(ip_address(each), rules) for each in ("127.0.0.1", "::1")):
        raise _invalid(f"must have a public address, which {name} has not")


def _embedded(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that packets to this IPv6 address are carried to, if it has one of the forms for that."""
    if isinstance(address, IPv4Address):
        return ()
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return address.teredo or tuple(filter(None, (address.ipv4_mapped, address.sixtofour)))


def _invalid(message: str) -> InvalidField:
    return InvalidField("url", message)
