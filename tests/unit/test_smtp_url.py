"""What SMTP_URL may say, and how safe a connection each form means."""

import pytest

from workerpool.kinds.smtp_url import SmtpServer, parse_smtp_url


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://localhost:1025", SmtpServer("localhost", 1025, "none")),
        ("smtp://127.0.0.1", SmtpServer("127.0.0.1", 25, "none")),
        ("smtp://127.9.9.9", SmtpServer("127.9.9.9", 25, "none")),
        ("smtp://[::1]:2525", SmtpServer("::1", 2525, "none")),
        ("smtp://u:p@localhost", SmtpServer("localhost", 25, "none", "u", "p")),
        ("smtp://mail.example.org", SmtpServer("mail.example.org", 25, "starttls")),
        ("smtp://u:p@10.0.0.1:2525/", SmtpServer("10.0.0.1", 2525, "starttls", "u", "p")),
        ("smtp+starttls://mail.example.org", SmtpServer("mail.example.org", 587, "starttls")),
        ("smtp+starttls://localhost:1", SmtpServer("localhost", 1, "starttls")),
        ("smtps://a%40example.org:p%3A%2F%40s@mail", SmtpServer("mail", 465, "tls", "a@example.org", "p:/@s")),
        ("smtp+plain://mailhog:1025", SmtpServer("mailhog", 1025, "none")),
        ("SMTPS://Mail.Example.ORG", SmtpServer("mail.example.org", 465, "tls")),
    ],
)
def test_a_form_means_a_server_and_a_security(url: str, server: SmtpServer) -> None:
    assert parse_smtp_url(url) == server


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mail.example.org", "unknown scheme"),
        ("http://mail", "unknown scheme"),
        ("smtp://", "names no host"),
        ("smtp://:25", "names no host"),
        ("smtp://host:0", "no usable port"),
        ("smtp://host:99999", "is not a URL"),
        ("smtp://host:abc", "is not a URL"),
        ("smtp://[::1", "is not a URL"),
        ("smtp://host/path", "behind the host"),
        ("smtp://host?x=1", "behind the host"),
        ("smtp://:hunter2@host", "no user name"),
        ("smtp+plain://u:hunter2@mail.example.org", "unencrypted"),
        ("smtp+plain://u:hunter2@10.0.0.1", "unencrypted"),
    ],
)
def test_a_form_that_is_wrong_is_refused_with_the_reason(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_smtp_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_in_the_servers_text_form() -> None:
    assert "hunter2" not in repr(parse_smtp_url("smtps://ann:hunter2@host"))
