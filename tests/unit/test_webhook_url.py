"""Where a webhook's URL points, and which texts are no URL we would send to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workerpool.kinds.webhook_url import Target, parse_target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org", Target("https", "example.org", 443, "/")),
        ("http://example.org/a/b?c=d&e", Target("http", "example.org", 80, "/a/b?c=d&e")),
        ("HTTPS://Example.ORG:8443/A#part", Target("https", "example.org", 8443, "/A")),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
        ("http://[2606:4700::1]:8080/x", Target("http", "2606:4700::1", 8080, "/x")),
        ("https://my_host.internal./", Target("https", "my_host.internal.", 443, "/")),
        ("https://example.org?x=1", Target("https", "example.org", 443, "/?x=1")),
    ],
)
def test_a_url_names_a_scheme_a_host_a_port_and_a_path(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "visible ASCII"),
        ("https://example.org/" + "x" * 2048, "visible ASCII"),
        ("https://bücher.example/", "visible ASCII"),
        ("http://①②⑦.⓪.⓪.①/", "visible ASCII"),
        ("http://127。0。0。1/", "visible ASCII"),
        ("https://example.org/\r\nX: y", "visible ASCII"),
        ("https://exa\tmple.org/", "visible ASCII"),
        (" https://example.org/", "visible ASCII"),
        ("https://example.org/\x00", "visible ASCII"),
        ("ftp://example.org/", "https:// or http://"),
        ("file:///etc/passwd", "https:// or http://"),
        ("gopher://example.org/", "https:// or http://"),
        ("//example.org/", "https:// or http://"),
        ("example.org", "https:// or http://"),
        ("javascript:alert(1)", "https:// or http://"),
        ("https://user@example.org/", "user name"),
        ("https://user:pw@example.org/", "user name"),
        ("https://@example.org/", "user name"),
        ("http://evil.example\\@127.0.0.1/", "user name"),
        ("http://127.0.0.1\\.evil.example/", "no usable host"),
        ("https://", "no usable host"),
        ("https:///path", "no usable host"),
        ("https://:443/", "no usable host"),
        ("https://a..b/", "no usable host"),
        ("https://.a/", "no usable host"),
        ("https://a%2eb/", "no usable host"),
        ("https://exa mple/", "visible ASCII"),
        ("http://[fe80::1%25eth0]/", "no usable host"),
        ("http://[::1/", "is not a URL"),
        ("http://[127.0.0.1]/", "is not a URL|no usable host"),
        ("http://[v1.x]/", "is not a URL|no usable host"),
        ("http://::1/", "is not a URL|no usable host"),
        ("https://example.org:0/", "port from 1"),
        ("https://example.org:65536/", "is not a URL"),
        ("https://example.org:8o/", "is not a URL"),
        ("https://" + "a" * 64 + ".example/", "no usable host"),
        ("https://" + "a." * 130 + "example/", "no usable host"),
    ],
)
def test_a_text_that_is_no_url_of_ours_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_target(url)


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "http://[", "https://a@"]))
def test_any_text_is_either_a_target_or_a_reason(text: str, before: str) -> None:
    try:
        target = parse_target(before + text)
    except ValueError:
        return
    assert target.path.startswith("/")
    assert not any(mark in target.host for mark in "@/\\?#% ")
