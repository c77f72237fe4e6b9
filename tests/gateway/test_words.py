"""Both languages, everywhere: no sentence without its Turkish, none left over, no word outside the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from shared import i18n

GATEWAY = Path(__file__).parents[2] / "gateway"
TEMPLATES = sorted((GATEWAY / "templates").glob("*.html"))
PLACEHOLDER = re.compile(r"%\((\w+)\)s|(%%)")
SAME_IN_BOTH = {
    "Berlin, Paris, Amsterdam", "Chicago", "Dubai", "Los Angeles", "New York", "Türkiye", "UTC",
    "Go", "Node.js", "Python", "Net", "Plan",
}  # fmt: skip
UNSEEN = (
    r"{#.*?#}", r"{%\s*trans\b.*?endtrans\s*%}", r"{% block (?:shape|here) %}.*?{% endblock %}",
    r"{{.*?}}(?!})", r"{%.*?%}",
    r'<svg viewBox="0 0 720.*?</svg>', r"<code.*?</code>", r"<time.*?</time>",
)  # fmt: skip
"""What is no text: notes, code, the catalogue's own sentences, the drawing of an editor."""
WORD = "[A-Za-zÇĞİÖŞÜçğıöşü]{2,}"
NOT_WORDS = {"YouAreCoder", "PDF", "nbsp", "doctype html", "doctype"}


@pytest.fixture(scope="module")
def used() -> dict[str | tuple[str, ...], str]:
    """Every sentence the pages and the code say, and where."""
    found: dict[str | tuple[str, ...], str] = {}
    method = [("templates/**.html", "jinja2"), ("**.py", "python")]
    options = {"templates/**.html": {"silent": "false"}}
    for file, line, message, _, _ in extract_from_dir(str(GATEWAY), method_map=method, options_map=options):
        found[message] = f"{file}:{line}"
    return found


@pytest.fixture(scope="module")
def turkish() -> Catalog:
    with (GATEWAY / "locales" / "tr.po").open("rb") as file:
        return read_po(file, locale="tr", abort_invalid=True)


def test_every_sentence_has_its_turkish(used: dict[str | tuple[str, ...], str], turkish: Catalog) -> None:
    assert len(used) > 400, "the extraction found next to nothing"
    missing = []
    for message, where in used.items():
        entry = turkish.get(message if isinstance(message, str) else message[0])
        texts = (entry.string,) if entry and isinstance(entry.string, str) else entry.string if entry else ()
        if not texts or not all(texts) or (entry and entry.fuzzy):
            missing.append(f"{where}: {message}")
    assert not missing, "\n".join(missing)


def test_nothing_is_translated_that_nobody_says(used: dict[str | tuple[str, ...], str], turkish: Catalog) -> None:
    assert {entry.id for entry in turkish if entry.id} == set(used)


def test_placeholders_are_the_same_in_both(turkish: Catalog) -> None:
    for entry in turkish:
        if not entry.id:
            continue
        ids, texts = ((given,) if isinstance(given, str) else given for given in (entry.id, entry.string))
        for text in texts:
            assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(ids[-1])), entry.id


def test_turkish_is_turkish(turkish: Catalog) -> None:
    """A sentence that stayed English would be the same in both; what may be is named above."""
    same = {entry.id for entry in turkish if entry.id and entry.id == entry.string}
    assert same == SAME_IN_BOTH


def test_plurals_follow_the_language() -> None:
    words = i18n.translations(GATEWAY / "locales", "tr")
    for count in (0, 1, 2, 14):
        assert words.ngettext("%(num)s day left", "%(num)s days left", count) == "%(num)s gün kaldı"
    english = i18n.translations(GATEWAY / "locales", "en")
    assert english.ngettext("%(num)s day left", "%(num)s days left", 1) == "%(num)s day left"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_word_stands_outside_the_catalogue(path: Path) -> None:
    assert not list(loose_words(path.read_text())), path.name


def loose_words(source: str) -> Iterator[str]:
    """Text that a reader would see and no catalogue knows: between tags, or in an attribute that is read out."""
    for unseen in UNSEEN:
        source = re.sub(unseen, "", source, flags=re.DOTALL)
    yield from re.findall(rf'\s(?:title|placeholder|aria-label|alt)="([^"]*{WORD}[^"]*)"', source)
    for node in re.sub(r"<[^>]*>", "\n", source).splitlines():
        words = re.findall(WORD, node)
        if words and node.strip(" ·&;\n") not in NOT_WORDS:
            yield node.strip()


def test_the_scan_finds_a_loose_word() -> None:
    assert list(loose_words('<p>{{ _("Fine") }}</p><p>Loose</p>')) == ["Loose"]
    assert list(loose_words('<a title="Loose too">{{ icon("x") }}</a>')) == ["Loose too"]
    assert not list(loose_words("<h1>{% trans name=x %}Join {{ name }}{% endtrans %}</h1>"))
