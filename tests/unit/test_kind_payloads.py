"""The payload shapes of send_email, resize_image and webhook_delivery."""

from typing import Any

import pytest

from workerpool.kinds.registry import PayloadInvalid, load
from workerpool.kinds.settings import VARIABLES

MAIL = {"to": "ann@example.org", "subject": "Hello", "body": "Text"}
IMAGE = {"source": "a/b.jpg", "width": 10}
HOOK = {"url": "https://example.org/hook"}


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def problems(kind: str, payload: Any) -> dict[str, list[str]]:
    with pytest.raises(PayloadInvalid) as caught:
        load().check(kind, payload)
    return caught.value.messages


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"to": ["ann@example.org", "bo@example.org"]},
        {"to": [f"a{number}@example.org" for number in range(50)]},
        {"to": "root@localhost"},
        {"to": "o'brien+tag.x@sub.example.co.uk"},
        {
            "subject": "Grüße 日本語 😀",
            "body": "",
            "html": "<p>x</p>",
            "cc": "cy@example.org",
            "reply_to": "re@example.org",
        },
        {"html": None, "cc": None, "reply_to": None},
        {"body": "any\r\nlines\n.\n.\r\nand \t tabs"},
    ],
)
def test_a_mail_with_these_fields_is_accepted(more: dict[str, Any]) -> None:
    loaded = load().check("send_email", {**MAIL, **more})
    assert isinstance(loaded["to"], list)


def test_a_mailbox_named_twice_is_kept_once() -> None:
    loaded = load().check("send_email", {**MAIL, "to": ["a@Example.org", "a@example.ORG", "A@example.org"]})
    assert loaded["to"] == ["a@Example.org", "A@example.org"]


BAD_ADDRESSES = [
    *(
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@@example.org",
        "ann@example..org",
        ".ann@example.org",
        "ann.@example.org",
    ),
    *("Ann <ann@example.org>", "<ann@example.org>", '"ann bo"@example.org', "ann@[127.0.0.1]", "ann@-example.org"),
    *(
        "ann@example.org,bo@example.org",
        "ann@example.org;bo",
        "ann@example.org\r\nBcc: x@y.example",
        "a\x00@example.org",
    ),
    *("ann@exämple.org", "änn@example.org", "ann @example.org", "=?utf-8?q?ann?=@example.org", "a(b)@example.org"),
    *(
        "a" * 65 + "@example.org",
        "a@" + "b." * 130 + "org",
        "group: ann@example.org;",
        "ann@example.org\n",
        "ann@example.org ",
    ),
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
@pytest.mark.parametrize("field", ["to", "cc", "reply_to"])
def test_what_is_not_one_bare_address_is_refused_and_named(field: str, address: str) -> None:
    assert list(problems("send_email", {**MAIL, field: address})) == [f"payload.{field}"]


def test_a_bad_address_in_a_list_is_named_by_its_position() -> None:
    assert list(problems("send_email", {**MAIL, "to": ["ann@example.org", "bo", 5]})) == [
        "payload.to.1",
        "payload.to.2",
    ]


@pytest.mark.parametrize(
    "breaker", ["\r", "\n", "\r\n", "\x00", "\x0b", "\x0c", "\x1b", "\x85", "\u2028", "\u2029", "\ud800"]
)
def test_a_subject_that_some_program_reads_as_two_lines_is_refused(breaker: str) -> None:
    found = problems("send_email", {**MAIL, "subject": f"a{breaker}Bcc: x@y.example"})
    assert "one line" in found["payload.subject"][0]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"to": []}, "to"),
        ({"to": ["a@example.org"] * 51}, "to"),
        ({"to": {"a": 1}}, "to"),
        ({"to": None}, "to"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 999}, "subject"),
        ({"subject": 5}, "subject"),
        ({"subject": "=?utf-8?q?=0D=0ABcc:_x?="}, "subject"),
        ({"body": None}, "body"),
        ({"body": ["a"]}, "body"),
        ({"body": "a\x00"}, "body"),
        ({"html": 5}, "html"),
        ({"bcc": "x@y.example"}, "bcc"),
        ({"headers": {"X": "y"}}, "headers"),
        ({"from": "x@y.example"}, "from"),
    ],
)
def test_a_mail_with_this_field_is_refused_and_the_field_named(more: dict[str, Any], field: str) -> None:
    assert list(problems("send_email", {**MAIL, **more})) == [f"payload.{field}"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"width": None, "height": 1},
        {"width": 10000, "height": 10000},
        {"target": "x/y.PNG"},
        {"target": "y.jpeg", "format": "jpeg"},
        {"format": "webp", "fit": "cover", "quality": 1},
        {"target": None, "format": None, "fit": None, "quality": None},
    ],
)
def test_an_image_with_these_fields_is_accepted(more: dict[str, Any]) -> None:
    load().check("resize_image", {**IMAGE, **more})


BAD_PATHS = [
    "",
    "/etc/passwd",
    "..",
    "a/../b.jpg",
    "./a.jpg",
    "a//b.jpg",
    "a/",
    "a\x00.jpg",
    "\ud800.jpg",
    "x" * 256,
    "x/" * 600,
]


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("field", ["source", "target"])
def test_a_path_that_is_not_plainly_below_the_root_is_refused(field: str, path: str) -> None:
    assert list(problems("resize_image", {**IMAGE, field: path})) == [f"payload.{field}"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"width": None}, "width"),
        *(({"width": wrong}, "width") for wrong in (0, -1, 10001, 1.5, 10.0, "10", True, [], 2**70)),
        ({"height": 0}, "height"),
        ({"source": None}, "source"),
        ({"source": 5}, "source"),
        ({"target": "a.txt"}, "target"),
        ({"target": "a"}, "target"),
        ({"target": ".jpg"}, "target"),
        ({"target": "a.png", "format": "jpeg"}, "format"),
        ({"format": "bmp"}, "format"),
        ({"format": "JPEG"}, "format"),
        ({"fit": "fill"}, "fit"),
        ({"quality": 0}, "quality"),
        ({"quality": 101}, "quality"),
        ({"widht": 5}, "widht"),
    ],
)
def test_an_image_with_this_field_is_refused_and_the_field_named(more: dict[str, Any], field: str) -> None:
    assert list(problems("resize_image", {**IMAGE, **more})) == [f"payload.{field}"]


@pytest.mark.parametrize("body", [None, 5, "x", [], {"a": [1, {"b": None}]}, True])
def test_a_webhook_takes_any_json_as_its_body(body: Any) -> None:
    assert load().check("webhook_delivery", {**HOOK, "body": body})["body"] == body


def test_a_webhook_without_a_body_sends_an_empty_object() -> None:
    assert load().check("webhook_delivery", HOOK)["body"] == {}


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"url": None}, "url"),
        ({"url": 5}, "url"),
        ({"url": "ftp://example.org/"}, "url"),
        ({"url": "https://user:pw@example.org/"}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://0x7f.1/"}, "url"),
        ({"url": "http://[::ffff:169.254.169.254]/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "url"),
        ({"url": "https://example.org:22/"}, "url"),
        ({"event": ""}, "event"),
        ({"event": "a\nb"}, "event"),
        ({"event": "x" * 201}, "event"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"timeout_seconds": 61}, "timeout_seconds"),
        ({"timeout_seconds": True}, "timeout_seconds"),
        ({"headers": []}, "headers"),
        ({"headers": {f"X-{number}": "y" for number in range(33)}}, "headers"),
        ({"method": "PUT"}, "method"),
    ],
)
def test_a_webhook_with_this_field_is_refused_and_the_field_named(more: dict[str, Any], field: str) -> None:
    assert list(problems("webhook_delivery", {**HOOK, **more})) == [f"payload.{field}"]


@pytest.mark.parametrize("name", ["X-Api-Key", "x-b3-traceid", "Accept", "Traceparent", "!#$%&'*+.^_`|~"])
def test_a_header_of_ones_own_is_accepted(name: str) -> None:
    payload = load().check("webhook_delivery", {**HOOK, "headers": {name: "a value; with=\tthings"}})
    assert payload["headers"] == {name: "a value; with=\tthings"}


RESERVED = [
    *("Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade"),
    *("Expect", "Content-Type", "Content-Encoding", "Accept-Encoding", "User-Agent", "Authorization", "Cookie", "Via"),
    *("webhook-id", "Webhook-Signature", "WEBHOOK-TIMESTAMP", "Proxy-Authorization", "X-Forwarded-For", "X-Real-IP"),
    *("Forwarded", "Metadata", "Metadata-Flavor", "X-aws-ec2-metadata-token", "Sec-Fetch-Site", "X-Metadata-Token"),
]
MALFORMED = ["", "a b", "a:", "a\r\nb", "ä", "a\x00", "(x)", "x" * 101, " a", "a\t"]


@pytest.mark.parametrize("name", RESERVED + MALFORMED)
def test_a_header_that_frames_signs_or_identifies_the_request_is_refused(name: str) -> None:
    found = problems("webhook_delivery", {**HOOK, "headers": {name: "v"}})
    assert next(iter(found)).startswith("payload.headers.")


@pytest.mark.parametrize(
    "value", ["", " ", " a", "a ", "a\r\nHost: b", "a\nb", "a\rb", "a\x00", "ä", "\u2028", "x" * 4097, 5, None, ["a"]]
)
def test_a_header_value_that_is_not_one_visible_line_is_refused(value: Any) -> None:
    assert list(problems("webhook_delivery", {**HOOK, "headers": {"X-A": value}})) == ["payload.headers.X-A"]


def test_two_spellings_of_one_header_are_refused() -> None:
    assert "payload.headers.x-a" in problems("webhook_delivery", {**HOOK, "headers": {"X-A": "1", "x-a": "2"}})


def test_a_literal_that_is_allowed_by_setting_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_ALLOW_NETS", "127.0.0.1/32:9000")
    load().check("webhook_delivery", {"url": "http://127.0.0.1:9000/"})
    problems("webhook_delivery", {"url": "http://127.0.0.1:9001/"})


def test_broken_settings_are_not_blamed_on_a_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = load()
    monkeypatch.setenv("WEBHOOK_ALLOW_NETS", "nonsense")
    registry.check("webhook_delivery", HOOK)


def test_every_shipped_kind_names_its_defaults() -> None:
    registry = load()
    for name in ("send_email", "resize_image", "summarize_text", "external"):
        assert (registry.get(name).queue, registry.get(name).max_attempts) == ("default", 3)
        assert registry.get(name).backoff.window(1) == (1.0, 3.0)
    webhook = registry.get("webhook_delivery")
    assert webhook.max_attempts == 10
    assert webhook.backoff.window(1) == (1.0, 3.0)
    assert webhook.backoff.window(9) == (1.0, 3600.0)
