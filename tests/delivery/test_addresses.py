"""Which addresses and URLs endpoints may have."""

from __future__ import annotations

import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.delivery.addresses import AddressRules, check_url, is_allowed
from core.errors import InvalidField
from core.settings import load_settings
from tests.budget import examples

STRICT = AddressRules(False, ())
PRIVATE = [
    IPv4Network(text)
    for text in ("10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
]

GLOBAL = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 192.0.1.1 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
168.63.129.15 2606:4700:4700::1111 2a00:1450:4001:800::200e 2001:4860:4860::8888 2001:200::1 2003::1 2400::1
::ffff:8.8.8.8 64:ff9b::8.8.8.8 2002:808:808::1 2001:0:808:808:0:ffff:f7f7:f7f7
"""

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255 127.0.0.1 127.255.255.255
168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.9 192.0.0.192
192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1 198.19.255.255 198.51.100.7 203.0.113.7 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:8.8.8.8
64:ff9b::127.0.0.1 64:ff9b::169.254.169.254 64:ff9b:0:0:0:1::1 64:ff9b:1::1 64:ff9b:1::8.8.8.8
2002:7f00:1::1 2002:a00:1::1 2002:a9fe:a9fe::1 2002:e000:1::
2001:0:7f00:1:0:ffff:f7f7:f7f7 2001:0:808:808:0:ffff:80ff:fffe 2001::1
100::1 1::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 3fff::1 4000::1 5f00::1 fc00::1 fd00:ec2::254 fd20:ce::254
fdff::1 fe80::1 fe80::1%eth0 2606:4700:4700::1111%eth0 febf::1 fec0::1 feff::1 ff02::1 ff0e::1
"""


@pytest.mark.parametrize("text", GLOBAL.split())
def test_global_addresses_are_allowed(text: str) -> None:
    """Messages may go to every global unicast address, also where IPv6 leads to one of IPv4."""
    assert is_allowed(ip_address(text), STRICT)


@pytest.mark.parametrize("text", REFUSED.split())
def test_all_other_addresses_are_refused(text: str) -> None:
    """Messages may go to no other address, in whatever form it is."""
    assert not is_allowed(ip_address(text), STRICT)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", True),
        ("192.168.7.9", True),
        ("192.168.7.8", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::10.1.2.3", True),
        ("2002:a01:203::1", True),
        ("64:ff9b:1::10.1.2.3", False),
        ("::10.1.2.3", False),
        ("fd12::1", True),
        ("fd13::1", False),
        ("fd12::1%eth0", False),
        ("169.254.169.254", False),
    ],
)
def test_the_operator_may_allow_networks(text: str, allowed: bool) -> None:
    """What is in the networks of the setting is allowed too, and nothing else."""
    settings = load_settings(endpoint_networks="10.0.0.0/8, 192.168.7.9 ,fd12::/16")
    assert is_allowed(ip_address(text), AddressRules.of(settings)) is allowed


@pytest.mark.parametrize("network", ["169.254.0.0/16", "0.0.0.0/0"])
def test_the_operator_may_allow_anything(network: str) -> None:
    """Not even the metadata of a cloud is refused to an operator who lists its network."""
    assert is_allowed(ip_address("169.254.169.254"), AddressRules(False, (ip_network(network),)))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://hooks.example.com/goals", "https://hooks.example.com/goals"),
        ("https://hooks.example.com", "https://hooks.example.com/"),
        ("https://hooks.example.com?a=1", "https://hooks.example.com/?a=1"),
        ("HTTPS://Hooks.EXAMPLE.com/Goals?A=%2f&b=c", "https://hooks.example.com/Goals?A=%2f&b=c"),
        ("https://hooks.example.com:443/x", "https://hooks.example.com/x"),
        ("https://hooks.example.com:80/x", "https://hooks.example.com:80/x"),
        ("https://hooks.example.com:65535/x", "https://hooks.example.com:65535/x"),
        ("https://xn--bcher-kva.example/x", "https://xn--bcher-kva.example/x"),
        ("https://my_service.example/a/../b//c;d", "https://my_service.example/a/../b//c;d"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
        ("https://1.example/x", "https://1.example/x"),
        ("https://0x7f.example/x", "https://0x7f.example/x"),
        ("https://[2606:4700:4700:0:0:0:0:1111]:8443/x", "https://[2606:4700:4700::1111]:8443/x"),
        ("https://[2606:4700:4700::1111]/x", "https://[2606:4700:4700::1111]/x"),
        # Names are resolved when a message is sent, and refused then.
        ("https://metadata.google.internal/x", "https://metadata.google.internal/x"),
        ("https://postgres/x", "https://postgres/x"),
    ],
)
def test_a_url_is_returned_as_it_will_be_used(given: str, used: str) -> None:
    """Scheme, host and port get one spelling; path and query stay as they are. The result is its own result."""
    assert check_url(given, STRICT) == used
    assert check_url(used, STRICT) == used


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.com",
        "//hooks.example.com/x",
        "/x",
        "https:hooks.example.com/x",
        "https:/hooks.example.com/x",
        "https:///x",
        "https://",
        "https://?x",
        "https://:443/x",
        "http://hooks.example.com/x",
        "ftp://hooks.example.com/x",
        "file:///etc/passwd",
        "gopher://hooks.example.com/x",
        "javascript:alert(1)",
        "https+unix://hooks.example.com/x",
        "https://user@hooks.example.com/x",
        "https://user:pw@hooks.example.com/x",
        "https://@hooks.example.com/x",
        "https://8.8.8.8@127.0.0.1/x",
        "https://127.0.0.1\\@8.8.8.8/x",
        "https:\\\\hooks.example.com\\x",
        "https://hooks.example.com/x#part",
        "https://hooks.example.com/x#",
        "https://hooks.example.com#@127.0.0.1/x",
        "https://hooks.example.com/a b",
        " https://hooks.example.com/x",
        "https://hooks.example.com/x\n",
        "https://hooks.example.com/x\r\nHost: other",
        "https://hooks.exa\tmple.com/x",
        "https://hooks.example.com/\x00",
        "https://hooks.example.com/\x7f",
        "https://hooks.example.com/é",
        "https://bücher.example/x",
        "https://hooks。example。com/x",
        "https://１２７.0.0.1/x",
        "https://ⓛocalhost/x",
        "https://hooks.example.com:0/x",
        "https://hooks.example.com:65536/x",
        "https://hooks.example.com:99999999/x",
        "https://hooks.example.com:/x",
        "https://hooks.example.com:443:443/x",
        "https://hooks.example.com:+443/x",
        "https://hooks.example.com:0443/x",
        "https://hooks.example.com:https/x",
        "https://hooks.example.com./x",
        "https://.example.com/x",
        "https://hooks..example.com/x",
        "https://-hooks.example.com/x",
        "https://hooks-.example.com/x",
        "https://hooks,example.com/x",
        "https://hooks.example.com%2e/x",
        "https://%31%32%37.0.0.1/x",
        "https://*.example.com/x",
        f"https://{'a' * 64}.example.com/x",
        f"https://{'.'.join(['a' * 60] * 5)}/x",
        f"https://hooks.example.com/{'a' * 2_048}",
        "https://localhost/x",
        "https://LOCALHOST:8443/x",
        "https://localhost./x",
        "https://api.localhost/x",
        "https://127.0.0.1/x",
        "https://127.0.0.1./x",
        "https://127.1/x",
        "https://127.0.1/x",
        "https://127/x",
        "https://0/x",
        "https://2130706433/x",
        "https://017700000001/x",
        "https://0177.0.0.1/x",
        "https://0177.0.0.01/x",
        "https://127.0.0.001/x",
        "https://0x7f000001/x",
        "https://0X7F000001/x",
        "https://0x7f.0.0.1/x",
        "https://0x7f.1/x",
        "https://127.0.0.0x1/x",
        "https://0x/x",
        "https://8.8.2056/x",
        "https://134744072/x",
        "https://256.1.1.1/x",
        "https://1.2.3.4.5/x",
        "https://hooks.example.1/x",
        "https://hooks.example.0x7f/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x",
        "https://[::]/x",
        "https://[0:0:0:0:0:0:0:1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[::ffff:7f00:1]/x",
        "https://[::127.0.0.1]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://[2002:7f00:1::]/x",
        "https://[fe80::1%25eth0]/x",
        "https://[fe80::1%eth0]/x",
        "https://[2606:4700:4700::1111%251]/x",
        "https://[fd00:ec2::254]/x",
        "https://[8.8.8.8]/x",
        "https://[hooks.example.com]/x",
        "https://[v1.x]/x",
        "https://[]/x",
        "https://[2606:4700:4700::1111/x",
        "https://2606:4700:4700::1111/x",
        "https://[2606:4700:4700::1111]x/x",
        "https://x[2606:4700:4700::1111]/x",
        "https://[[2606:4700:4700::1111]]/x",
    ],
)
def test_bad_urls_are_refused(url: str) -> None:
    """A URL that messages could not be sent to, or that could be read in two ways, is refused in words."""
    with pytest.raises(InvalidField, match=r"^url: must ") as refused:
        check_url(url, STRICT)
    assert refused.value.field == "url"
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:9000/x", True),
        ("http://localhost:9000/x", True),
        ("https://api.localhost/x", True),
        ("http://[::ffff:127.0.0.1]/x", True),
        ("http://hooks.example.com/x", True),
        ("http://127.1:9000/x", False),
        ("http://10.0.0.1/x", False),
        ("http://[::1]/x", False),
        ("ftp://127.0.0.1/x", False),
    ],
)
def test_the_operator_may_allow_development(url: str, allowed: bool) -> None:
    """With both settings an endpoint may be on this machine, over http:// as well."""
    rules = AddressRules.of(load_settings(endpoint_http=True, endpoint_networks="127.0.0.0/8"))
    try:
        check_url(url, rules)
    except InvalidField:
        assert not allowed
    else:
        assert allowed


def spelled(part: int, base: str, zeros: int) -> str:
    """One number of an address as the C library reads it: decimal, octal or hexadecimal."""
    if base == "decimal":
        return str(part)
    return f"0{'0' * zeros}{part:o}" if base == "octal" else f"{base}{'0' * zeros}{part:x}"


@st.composite
def private_hosts(draw: st.DrawFn) -> str:
    """A private IPv4 address in any spelling, as a host of a URL."""
    network = draw(st.sampled_from(PRIVATE))
    number = int(network[0]) + draw(st.integers(0, network.num_addresses - 1))
    count = draw(st.integers(1, 4))
    shifts = [8 * (3 - each) for each in range(count - 1)]
    parts = [number >> shift & 0xFF for shift in shifts] + [number & ((1 << 8 * (5 - count)) - 1)]
    dotted = str(IPv4Address(number))
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    bases = st.tuples(st.sampled_from(["decimal", "octal", "0x", "0X"]), st.integers(0, 3))
    written = ".".join(spelled(part, *draw(bases)) for part in parts) + draw(st.sampled_from(["", "."]))
    prefix = draw(st.sampled_from(["::ffff:", "::FFFF:", "0:0:0:0:0:ffff:", "::", "64:ff9b::", "::ffff:0:", "::5efe:"]))
    in_ipv6 = [f"[{prefix}{dotted}]", f"[{prefix}{high}:{low}]", f"[2002:{high}:{low}::1]", f"[64:ff9b:1::{dotted}]"]
    encoded = "".join(f"%{ord(each):02x}" for each in dotted)
    wide = "".join(chr(ord(each) + 0xFEE0) for each in dotted)
    return draw(st.sampled_from([written, dotted, encoded, wide, *in_ipv6]))


@settings(max_examples=examples(500))
@given(private_hosts(), st.sampled_from(["https://{}/", "https://{}:8443/x", "HTTPS://{}?x", "https://a@{}/"]))
def test_no_spelling_of_a_private_address_passes(host: str, form: str) -> None:
    """However a private IPv4 address is written, no URL with it is taken."""
    with pytest.raises(InvalidField):
        check_url(form.format(host), STRICT)


@settings(max_examples=examples(500))
@given(st.text("0123456789abcfx.:%[]-", min_size=1, max_size=20))
@example("8.8.8.8")
@example("[2606:4700:4700::1111]")
def test_what_the_system_takes_for_an_address_is_judged_as_one(host: str) -> None:
    """If a URL is taken and the system reads its host as an address, that is an allowed one."""
    try:
        url = check_url(f"https://{host}/", STRICT)
    except InvalidField:
        return
    used = url.removeprefix("https://").removesuffix("/").split("]")[0].strip("[")
    try:
        found = socket.getaddrinfo(used, 443, flags=socket.AI_NUMERICHOST, type=socket.SOCK_STREAM)
    except OSError:
        return
    assert all(is_allowed(ip_address(address[0]), STRICT) for *_, address in found)


@settings(max_examples=examples(200))
@given(st.ip_addresses(v=6) | st.ip_addresses(v=4))
def test_what_python_knows_to_be_private_is_refused(address: IPv4Address | IPv6Address) -> None:
    """The tables allow nothing that the ipaddress module does not count as global."""
    if is_allowed(address, STRICT):
        embedded = isinstance(address, IPv6Address) and (address.ipv4_mapped or address.sixtofour or address.teredo)
        assert embedded or (address.is_global and not address.is_multicast)


def test_the_check_needs_no_http_client() -> None:
    """A process that only checks URLs loads no aiohttp."""
    program = "import sys, core.delivery.addresses; print('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
