"""Pages: one template, the facts a route hands over, and what every page needs beside them.

`render(request, "dashboard.html", workspaces=…)`. Every template also has: `language`, `_` / `gettext` / `ngettext`
and `{% trans %}`, `session` (None before log-in), `csrf_token` and `csrf_field`, `path`, `now`, `public_url`,
`mailbox_url` ("" but in test installations), `done` (what was just done, a code), `asset("app.css")`,
`correlation_id`, and the filters `money`, `date`, `moment`, `minute`, `ago`, `span`, `bytes`, `utc`.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from gateway import csrf
from gateway.assets import Assets
from gateway.headers import Policy
from gateway.sessions import Session
from gateway.settings import Settings
from shared import i18n
from shared.logging import correlation_id
from shared.money import Money
from shared.settings import Environment as Where

HERE = Path(__file__).parent
DONE = re.compile(r"^[a-z-]{1,40}$")


class Templates:
    """The compiled templates, an environment a language, so that words are looked up without a thread's state."""

    def __init__(self, settings: Settings) -> None:
        watch = settings.environment is Where.LOCAL
        self.settings = settings
        self.assets = Assets(HERE / "static", watch=watch)
        self._environments = {language: self._environment(language, watch) for language in i18n.LANGUAGES}

    def render(self, language: str, name: str, facts: dict[str, Any]) -> str:
        """The page as text. Raises jinja2.UndefinedError for a fact that was not given."""
        return self._environments[language].get_template(name).render(facts)

    def _environment(self, language: str, watch: bool) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=watch,
            extensions=["jinja2.ext.i18n"],
        )
        words = i18n.translations(HERE / "locales", language)
        environment.install_gettext_translations(words, newstyle=True)  # type: ignore[attr-defined]  # by the extension
        environment.globals.update(
            language=language,
            asset=self.assets.url,
            public_url=self.settings.public_url,
            mailbox_url=self.settings.mailbox_url,
        )
        environment.filters.update(
            money=lambda amount: i18n.money(_money(amount), language),
            span=lambda seconds: i18n.span(timedelta(seconds=seconds), language),
            bytes=lambda count: i18n.size(count, language).replace(" ", "\N{NO-BREAK SPACE}"),
            utc=lambda when: _time(when).strftime("%Y-%m-%dT%H:%M:%SZ"),
            date=pass_context(lambda context, when: i18n.date(_time(when), language, _zone(context))),
            moment=pass_context(lambda context, when: i18n.moment(_time(when), language, _zone(context))),
            minute=pass_context(lambda context, when: i18n.minute(_time(when), language, _zone(context))),
            ago=pass_context(lambda context, when: i18n.ago(_time(when), context["now"], language)),
        )
        return environment


def render(
    request: Request, template: str, *, status: int = 200, policy: Policy = Policy.PAGE, **facts: Any
) -> HTMLResponse:
    """The page `template` with `facts`, in the visitor's language. A fact that is read and was not given is a fault."""
    templates: Templates = request.app.state.templates
    session: Session | None = getattr(request.state, "session", None)
    done = request.query_params.get("done", "")
    form_token = csrf.token(request)
    text = templates.render(
        language_of(request),
        template,
        {
            "session": session,
            "csrf_token": form_token,
            "csrf_field": Markup('<input type="hidden" name="{}" value="{}">').format(csrf.FIELD, form_token),
            "path": request.url.path,
            "now": request.app.state.clock.now(),
            "done": done if DONE.match(done) else "",
            "correlation_id": correlation_id() or "",
            **facts,
        },
    )
    response = HTMLResponse(text, status)
    response.headers["Content-Security-Policy"] = policy.text(templates.settings)
    csrf.keep(request, response)
    return response


def language_of(request: Request) -> str:
    """The person's own setting; before log-in the footer's switch, then the browser's wish."""
    session: Session | None = getattr(request.state, "session", None)
    if session is not None and session.language in i18n.LANGUAGES:
        return session.language
    chosen = request.cookies.get("language", "")
    return chosen if chosen in i18n.LANGUAGES else i18n.negotiate(request.headers.get("accept-language"))


def _zone(context: Context) -> str:
    session = context.get("session")
    return session.timezone if session else i18n.DEFAULT_TIMEZONE


def _time(when: str | datetime) -> datetime:
    return when if isinstance(when, datetime) else datetime.fromisoformat(when)


def _money(amount: Money | dict[str, Any]) -> Money:
    return amount if isinstance(amount, Money) else Money.model_validate(amount)
