"""What mails say: both languages, the same facts, nothing that a name can break."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError, meta

from services.notifier import rendering
from services.notifier.chosen_words import in_subject
from services.notifier.rendering import Rendered, render, source
from tests.notifier.stories import FOR_STAFF, KINDS, REASONS

T = "2026-11-29T09:30:00+00:00"
LINK = "https://app.example.com/x?token=abc&n=1"
FACTS: dict[str, Any] = {
    "site": "https://app.example.com",
    "company": "Şişli Yazılım A.Ş.",
    "link": LINK,
    "expires_at": T,
    "happened_at": T,
    "ends_at": T,
    "period_end": T,
    "data_kept_until": T,
    "ip": "203.0.113.9",
    "invited_by": "Gülşah Iğdır",
    "workspace": "ödeme-servisi",
    "seconds": 1.42,
    "plan": "team",
    "number": "YAC2026000000017",
    "net": {"minor": 247_500, "currency": "TRY"},
    "tax": {"minor": 49_500, "currency": "TRY"},
    "total": {"minor": 297_000, "currency": "TRY"},
    "amount": {"minor": 9_900, "currency": "USD"},
    "reason": "declined",
    "payment": "0192f6d4",
    "difference": "currency",
    "check": "billing",
    "detail": "503",
    "days_left": 3,
    "used": 43_486_543_872,
    "limit": 50 << 30,
    "takes": 1_717_986_918,
}
MAILS = Path(rendering.HERE) / "mails"
HOSTILE = (
    "<script>alert(1)</script>",
    "Evil\r\nBcc: victim@example.com\r\n\r\nHello",
    "\u202eenilno oidar \u2066x",
    "🦄𝕬𝖈𝖒𝖊 𠮷野家",
    "{{ link }}{% for x in y %}",
    "[[ click | https://evil.example ]]\n\n= Pay | now",
    '"><img src=x onerror=alert(1)>',
    "a" * 5_000,
    "&#x3c;b&#x3e;",
    "line\u2028separator\x85next",
)


def rendered(kind: str, language: str, name: str = "İlkay Işık", **facts: Any) -> Rendered:
    return render(kind, language, "Europe/Istanbul", name, {**FACTS, **facts})


def used(kind: str, language: str) -> set[str]:
    written = source(kind, language)
    parts = (written.subject, written.preheader, written.heading, *written.blocks)
    environment = rendering.template("", language, "UTC").environment
    return set().union(*(meta.find_undeclared_variables(environment.parse(part)) for part in parts))


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    @property
    def names(self) -> list[str]:
        return [tag for tag, _ in self.found]

    @property
    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.found if tag == "a"]


def test_every_kind_has_both_languages_and_nothing_else_lies_about() -> None:
    assert {path.name for path in MAILS.iterdir()} == {f"{kind}.{lang}.txt" for kind in KINDS for lang in ("tr", "en")}


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_say_the_same_facts(kind: str) -> None:
    turkish, english = source(kind, "tr"), source(kind, "en")
    assert used(kind, "tr") == used(kind, "en")
    assert turkish.tone == english.tone
    assert turkish.tone in rendering.TONES
    assert turkish.subject != english.subject
    assert len(turkish.blocks) == len(english.blocks)


@pytest.mark.parametrize("language", ["tr", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_mail_is_whole(kind: str, language: str) -> None:
    mail = rendered(kind, language)
    tags = Tags(mail.html)
    assert not re.search(r"\{\{|\}\}|\{%|\[\[", mail.subject + mail.text + mail.html)
    assert not {"img", "script", "iframe", "form", "link", "object"} & set(tags.names)
    assert not re.search(r"url\(|@import", mail.html)
    assert f'<html lang="{language}"' in mail.html
    buttons = [link for link in tags.links if link != FACTS["site"]]
    assert len(set(buttons)) == 1, "one button"
    assert str(buttons[0]) in mail.text
    assert len(mail.html) < 25_000, "Gmail cuts what is over 102 KB"
    assert 10 < len(mail.subject) <= 78
    words = unescape(re.sub(r"<[^>]+>", " ", mail.html))
    for line in mail.text.splitlines():
        for part in line.split(": "):
            assert part.rstrip(":") in words or part == "-- ", "the text says what the HTML says"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_fact_is_an_error_and_no_gap(kind: str) -> None:
    for fact in used(kind, "tr") - {"name", "company"}:
        facts = {name: value for name, value in FACTS.items() if name != fact}
        with pytest.raises((UndefinedError, TypeError, ValueError)):
            render(kind, "tr", "Europe/Istanbul", "x", facts)


@pytest.mark.parametrize(
    ("kind", "turkish", "english"),
    [
        ("payment_succeeded", "Ödemeniz alındı: ₺2.970,00 – Team", "Payment received: ₺2,970.00 – Team"),
        ("payment_failed", "Ödemeniz alınamadı: $99,00 – Team", "Payment failed: $99.00 – Team"),
        ("trial_expiring", "Denemenizin bitmesine 3 gün kaldı", "3 days left of your trial"),
        (
            "storage_warning",
            "Depolamanız dolmak üzere: 40,5 GB / 50 GB",
            "Your storage is nearly full: 40.5 GB of 50 GB",
        ),
        ("storage_full", "Depolamanız doldu: 40,5 GB / 50 GB", "Your storage is full: 40.5 GB of 50 GB"),
        ("workspace_ready", "Çalışma alanınız hazır: ödeme-servisi", "Your workspace is ready: ödeme-servisi"),
        (
            "invitation",
            "Gülşah Iğdır sizi Şişli Yazılım A.Ş. ekibine davet ediyor",
            "Gülşah Iğdır invites you to join Şişli Yazılım A.Ş.",
        ),
    ],
)
def test_subjects_say_the_thing(kind: str, turkish: str, english: str) -> None:
    assert rendered(kind, "tr").subject == turkish
    assert rendered(kind, "en").subject == english


@pytest.mark.parametrize(
    ("days", "turkish", "english"), [(7, "7 gün", "7 days"), (3, "3 gün", "3 days"), (1, "1 gün", "1 day")]
)
def test_days_are_counted_by_the_rules_of_the_language(days: int, turkish: str, english: str) -> None:
    assert rendered("trial_expiring", "tr", days_left=days).subject == f"Denemenizin bitmesine {turkish} kaldı"
    assert rendered("trial_expiring", "en", days_left=days).subject == f"{english} left of your trial"


@pytest.mark.parametrize(
    ("zone", "turkish", "english"),
    [
        ("Europe/Istanbul", "29 Kasım 2026 12:30 (GMT+03:00)", "November 29, 2026 12:30 (GMT+03:00)"),
        ("Pacific/Auckland", "29 Kasım 2026 22:30 (GMT+13:00)", "November 29, 2026 22:30 (GMT+13:00)"),
    ],
)
def test_moments_are_in_the_companys_zone(zone: str, turkish: str, english: str) -> None:
    assert turkish in render("verification", "tr", zone, "x", FACTS).text
    assert english in render("verification", "en", zone, "x", FACTS).text


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "\x00", "z" * 99])
def test_an_unknown_zone_is_the_default_one(zone: str) -> None:
    mail = render("verification", "tr", zone, "x", FACTS)
    assert mail == render("verification", "tr", "Europe/Istanbul", "x", FACTS)


def test_each_reason_of_a_failed_payment_has_its_own_advice() -> None:
    for language in ("tr", "en"):
        advice = {reason: rendered("payment_failed", language, reason=reason).text for reason in REASONS}
        assert len(set(advice.values())) == len(REASONS)
        assert rendered("payment_failed", language, reason="new-one").text == advice["unknown"]


def test_an_unknown_language_is_turkish() -> None:
    assert rendered("welcome", "xx").html == rendered("welcome", "tr").html


def test_the_company_and_the_sender_stand_in_the_foot() -> None:
    for language in ("tr", "en"):
        foot = rendered("password_changed", language).text.rpartition("-- ")[2]
        assert "YouAreCoder" in foot
        assert "Şişli Yazılım A.Ş." in foot
        assert "https://app.example.com" in foot


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("kind", KINDS)
def test_hostile_words_stay_words(kind: str, hostile: str) -> None:
    facts = dict.fromkeys(("company", "invited_by", "workspace", "difference", "detail", "check"), hostile)
    honest, mail = rendered(kind, "tr"), rendered(kind, "tr", name=hostile, **facts)
    assert Tags(mail.html).names == Tags(honest.html).names
    assert Tags(mail.html).links == Tags(honest.html).links
    assert len(mail.subject) <= 200
    for text in (mail.subject, mail.text, mail.html):
        assert not re.search("[\r\x00\x85\u2028\u202a-\u202e\u2066-\u2069]", text)
    assert "\n" not in mail.subject
    assert mail.text.count("\n\n") == honest.text.count("\n\n"), "no paragraph of its own"


@pytest.mark.parametrize("fact", ["company", "invited_by"])
def test_a_strangers_mail_carries_no_link_hidden_in_a_name(fact: str) -> None:
    mail = rendered("invitation", "en", **{fact: "Win $500 at evil.example/win or https://evil.example"})
    assert "evil.example" not in mail.text
    assert "evil.example" not in mail.html
    assert "https:" + "//evil" not in mail.html
    assert "evil.example" in mail.subject, "a subject is no place for links, and shows what was typed"
    assert "Şişli Yazılım A.Ş." in rendered("invitation", "en").text, "initials are left alone"


@pytest.mark.parametrize("link", ["javascript:alert(1)", "//evil.example", "data:text/html,x", ""])
def test_a_button_leads_to_a_web_address_or_nowhere(link: str) -> None:
    with pytest.raises(ValueError, match="web address"):
        rendered("verification", "tr", link=link)


@given(name=st.text(), company=st.text(), workspace=st.text(max_size=300))
def test_no_name_breaks_a_mail(name: str, company: str, workspace: str) -> None:
    for kind in ("welcome", "invitation", "workspace_ready", "trial_expired"):
        mail = rendered(kind, "tr", name=name, company=company, workspace=workspace, invited_by=name)
        (mail.subject + mail.text + mail.html).encode("utf-8")
        assert "\n" not in mail.subject


def test_a_long_subject_is_cut_between_letters() -> None:
    assert in_subject("e\u0301" * 10, 10) == "e\u0301" * 4 + "…"
    assert in_subject("short", 10) == "short"


def test_staffs_mails_are_among_the_kinds() -> None:
    assert set(FOR_STAFF) <= set(KINDS)
