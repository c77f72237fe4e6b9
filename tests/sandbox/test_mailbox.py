"""The mailbox over real SMTP and HTTP."""

import smtplib
import socket
import time
from email.message import EmailMessage

import httpx
import pytest

from sandbox.mailbox import app as mailbox_app
from sandbox.mailbox.parsing import parse
from sandbox.mailbox.settings import MailboxSettings
from sandbox.mailbox.store import MailStore
from tests.sandbox.conftest import serving


def smtp(mailbox, seconds=5):
    return smtplib.SMTP("127.0.0.1", int(mailbox.headers["x-smtp-port"]), timeout=seconds)


def mail(subject="Hoş geldiniz", to="ali@example.com"):
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "Team <team@example.com>", to, subject
    message.set_content("Merhaba İstanbul\n")
    message.add_alternative(
        '<p>Merhaba</p><img src="cid:logo"><a href="https://a.test/verify?t=1">ok</a><script>alert(1)</script>',
        subtype="html",
    )
    message.get_payload()[1].add_related(b"PNG", "image", "png", cid="<logo>")
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="fatura ş.pdf")
    return message


def send(mailbox, message=None, **more):
    with smtp(mailbox) as client:
        client.send_message(message or mail(), **more)


def test_a_mail_is_kept_and_taken_apart(mailbox):
    send(mailbox, to_addrs=["ali@example.com", "Blind@Example.com"])
    (found,) = mailbox.get("/api/mails").json()
    assert (found["subject"], found["from"]) == ("Hoş geldiniz", "Team <team@example.com>")
    assert found["to"] == ["ali@example.com", "Blind@Example.com"]
    assert found["text"].strip() == "Merhaba İstanbul"
    assert "verify?t=1" in found["html"]
    assert ["Subject", "Hoş geldiniz"] in found["headers"]
    assert [one["filename"] for one in found["attachments"]] == ["part-1", "fatura ş.pdf"]
    assert mailbox.get(found["attachments"][1]["url"]).content == b"%PDF-1.4"
    assert mailbox.get(f"/api/mails/{found['id']}").json() == found
    assert mailbox.get("/api/mails/999").status_code == mailbox.get(f"/api/mails/{10**30}").status_code == 404


def test_search_and_clear(mailbox):
    send(mailbox, mail("One", "a@example.com"))
    send(mailbox, mail("Two", "ba@example.com"))
    subjects = lambda **query: [one["subject"] for one in mailbox.get("/api/mails", params=query).json()]  # noqa: E731
    assert subjects() == ["Two", "One"]
    assert subjects(to="A@example.com") == ["One"]
    assert subjects(to="ba") == ["Two"]
    assert subjects(subject="ONE") == ["One"]
    assert subjects(limit=1) == ["Two"]
    for limit in ("0", "-1", "9999", "x", "٣"):
        assert mailbox.get("/api/mails", params={"limit": limit}).status_code == 422
    assert mailbox.delete("/api/mails").json() == {"deleted": 2}
    assert subjects() == []


def test_it_is_bounded(mailbox):
    for number in range(7):
        send(mailbox, mail(str(number)))
    assert [one["subject"] for one in mailbox.get("/api/mails").json()] == ["6", "5", "4", "3", "2"]
    with pytest.raises(smtplib.SMTPException):
        send(mailbox, mail("x" * 10 + "y" * 300_000))
    assert len(mailbox.get("/api/mails").json()) == 5


def test_mails_survive_a_restart(tmp_path):
    settings = MailboxSettings(smtp_port=0, data_dir=tmp_path)
    for expected in (1, 2):
        app = mailbox_app.build(settings)
        with serving(app) as url, httpx.Client(base_url=url) as client:
            client.headers["x-smtp-port"] = str(app.state.receiver.port)
            send(client)
            assert len(client.get("/api/mails").json()) == expected


def test_mails_are_for_their_owners_account_alone(tmp_path):
    """They hold links that open accounts; a data folder may be one that others can look into."""
    MailStore(tmp_path / "made", keep=5, keep_bytes=10_000)
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


def test_a_mails_html_cannot_act(mailbox):
    send(mailbox, mail("<script>alert(1)</script>"))
    number = mailbox.get("/api/mails").json()[0]["id"]
    assert "<script>alert" not in mailbox.get("/").text
    page = mailbox.get(f"/mails/{number}")
    assert "<script>alert" not in page.text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    html = mailbox.get(f"/mails/{number}/html")
    policy = html.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-popups")
    assert "allow-scripts" not in policy
    assert "default-src 'none'" in policy
    assert f'src="/mails/{number}/attachments/0"' in html.text
    download = mailbox.get(f"/mails/{number}/attachments/1")
    assert download.headers["content-disposition"] == "attachment; filename*=UTF-8''fatura%20%C5%9F.pdf"
    assert mailbox.get(f"/mails/{number}/attachments/9").status_code == 404
    assert mailbox.get("/mails/12345").status_code == 404


@pytest.mark.parametrize("raw", [
    b"", b"\xff\xfe\x00", b"Subject: =?utf-8?q?=ff=fe?=\r\n\r\nx",
    b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xff",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n",
    b"From: <<<>>>@@,;:\r\nDate: \x80\r\n\r\n", b"Content-Disposition: attachment; filename*=utf-8''%ff%d8\r\n\r\nx",
    b"Subject: \xed\xa0\x80\r\nX-\xff: \xff\r\n\r\n\xed\xa0\x80", b"To: " + b"((((((((((\r\n " * 500 + b"\r\n\r\n",
])  # fmt: skip
def test_any_bytes_are_readable(mailbox, raw):
    parse(raw)
    with smtp(mailbox) as client:
        client.sendmail("x@example.com", ["y@example.com"], raw)
    (found,) = mailbox.get("/api/mails").json()
    for path in ("/", f"/mails/{found['id']}", f"/mails/{found['id']}/raw"):
        assert mailbox.get(path).status_code == 200


def refuse(mailbox, **what):
    answer = mailbox.post("/api/misbehave", json=what)
    assert answer.status_code == 200, answer.text


def test_refused_for_good_and_for_now(mailbox):
    refuse(mailbox, refuse="Gone@example.com", mode="reject")
    refuse(mailbox, refuse="busy@example.com", mode="tempfail")
    for address, code in (("gone@example.com", 550), ("BUSY@example.com", 451)):
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            send(mailbox, to_addrs=[address])
        assert refused.value.recipients[address][0] == code
    send(mailbox)
    refuse(mailbox, refuse="gone@example.com", mode="none")
    send(mailbox, to_addrs=["gone@example.com"])
    assert len(mailbox.get("/api/mails").json()) == 2


def test_slow(mailbox):
    refuse(mailbox, mode="slow", seconds=0.5)
    began = time.monotonic()
    send(mailbox)
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(("mode", "kept"), [("drop-mid-message", 0), ("lost-reply", 1)])
def test_the_connection_ends_in_the_middle(mailbox, mode, kept):
    refuse(mailbox, refuse="ali@example.com", mode=mode)
    with pytest.raises((smtplib.SMTPException, ConnectionError)):
        send(mailbox)
    assert len(mailbox.get("/api/mails").json()) == kept
    send(mailbox, to_addrs=["other@example.com"])


def test_down_and_up_again(mailbox):
    with smtp(mailbox) as client:
        client.noop()
        refuse(mailbox, mode="down")
        with pytest.raises((smtplib.SMTPException, ConnectionError)):
            client.noop()
        with pytest.raises(ConnectionError):
            smtp(mailbox)
    assert mailbox.get("/").status_code == 200
    assert mailbox.delete("/api/misbehave").status_code == 204
    send(mailbox)


def test_the_control_api_refuses_nonsense(mailbox):
    for body in (
        b"{",
        b"[]",
        b"{}",
        b'{"mode": "explode"}',
        b'{"mode": "slow", "seconds": 1e9}',
        b"[" * 4000,
    ):
        answer = mailbox.post("/api/misbehave", content=body, headers={"content-type": "application/json"})
        assert 400 <= answer.status_code < 500
    assert mailbox.post("/api/misbehave", content=b'{"mode":"down"}').status_code == 415


def test_any_login_is_taken(mailbox):
    with smtp(mailbox) as client:
        client.login("anybody", "anything")
        client.send_message(mail())
    assert len(mailbox.get("/api/mails").json()) == 1


def test_garbage_on_the_port_does_no_harm(mailbox):
    with socket.create_connection(("127.0.0.1", int(mailbox.headers["x-smtp-port"]))) as raw:
        raw.sendall(b"\x00\xff" * 5000 + b"\r\n")
    send(mailbox)
