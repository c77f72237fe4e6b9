"""A process of the bus that tests kill: the real relay, consumer and retries of one service or two, or a teller.

Born in a nursery; where its parts are stands in its environment. It may be told to end itself by SIGKILL at a named
point, at its nth passing: so a crash falls exactly between two steps, which a signal from outside hardly ever does.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import logging
from shared.clock import SystemClock
from shared.db import Database, DatabaseUnavailable
from shared.events.billing import TrialStarted
from shared.events.scheduler import TrialExpired
from shared.ids import new_id
from shared.messaging import outbox, relay
from shared.messaging.consumer import Consumer, Context
from shared.messaging.relay import Relay
from shared.service import Service, Worker, transport_for
from shared.settings import ServiceSettings

log = logging.get_logger(__name__)

POISON, LATE = "poison", "late"
"""Words that begin so are never handled, or not while the table `closed` has a row."""


def word_of(number: int) -> str:
    """Each 50th event is poison, each 20th comes late."""
    kind = POISON if number % 50 == 7 else LATE if number % 20 == 3 else "plain"
    return f"{kind}-{number}"


def leave_effect(session: Session, event: TrialStarted, context: Context) -> None:
    """The notifier's handler: a row for each call that commits, and a fact of its own for the next hearer."""
    session.execute(text("insert into effects (word) values (:word)"), {"word": event.plan})
    if event.plan.startswith(POISON):
        raise ValueError("nobody can handle this one")
    if event.plan.startswith(LATE) and session.execute(text("select 1 from closed")).first():
        raise LookupError("what it needs has not come yet")
    outbox.add(session, TrialExpired(company_id=event.company_id, ends_at=event.ends_at), context.now)


def leave_echo(session: Session, event: TrialExpired, context: Context) -> None:
    """Billing's handler: the second hop."""
    statement = text("insert into effects (word) values (:word)")
    session.execute(statement, {"word": str(event.company_id)})


HANDLERS: dict[str, Any] = {"notifier": {TrialStarted: leave_effect}, "billing": {TrialExpired: leave_echo}}

POINTS: dict[str, tuple[type, str, str]] = {
    "between commit and publish": (Relay, "_claim", "after"),
    "between publish and removal": (Relay, "_settle", "before"),
    "in a handler, before its commit": (Consumer, "_handle", "after"),
    "between the handler's commit and the acknowledgement": (Consumer, "receive", "after"),
    "in a retry, before its commit": (Consumer, "retry", "after"),
}
"""Where a service's process may end: around which call of which part."""


def arm(point: str, passing: int) -> None:
    """From now on this process ends by SIGKILL when it passes the point for the nth time."""
    owner, name, when = POINTS[point]
    real: Callable[..., Any] = getattr(owner, name)
    passings = itertools.count(1)

    def end_here() -> None:
        if next(passings) == passing:
            os.kill(os.getpid(), signal.SIGKILL)

    @wraps(real)
    def ending(*arguments: Any) -> Any:
        if when == "before":
            end_here()
            return real(*arguments)
        result = None
        try:
            result = real(*arguments)
            return result
        finally:
            # Also where a handler raised. An empty claim is no passing: there is nothing to lose.
            if result or name != "_claim":
                end_here()

    setattr(owner, name, ending)


def tell_all(count: int, seconds: float, seed: str, die_after: int) -> None:
    """Writes `count` events in transactions of some, spread over about `seconds`; goes on where another one ended.

    `die_after`: the transaction that would pass this many events is never committed, since the process ends in it.
    """
    billing = Database(os.environ["BILLING"], "billing")
    while True:
        try:
            with billing.unit_of_work() as session:
                told = session.execute(text("select count(*) from told")).scalar_one()
                if told >= count:
                    return
                size = random.Random(f"{seed}/{told}").randint(1, 9)
                for number in range(told, min(count, told + size)):
                    tell(session, number)
                if die_after and told + size > die_after:
                    os.kill(os.getpid(), signal.SIGKILL)
        except DatabaseUnavailable:
            pass  # it comes back; what did not commit is told again
        time.sleep(seconds * 5 / count)


def tell(session: Session, number: int) -> None:
    """The change and the fact, in one transaction."""
    company, now = new_id(), SystemClock().now()
    word = word_of(number)
    session.execute(text("insert into told (word, company) values (:w, :c)"), {"w": word, "c": str(company)})
    outbox.add(session, TrialStarted(company_id=company, plan=word, started_at=now, ends_at=now), now)


async def serve(names: list[str]) -> None:
    """Runs these services' background halves until SIGTERM."""
    services = []
    for name in names:
        settings = ServiceSettings(
            database_url=os.environ[name.upper()],
            amqp_url=os.environ.get("AMQP_URL"),
            token_public_key=os.environ["TOKEN_PUBLIC_KEY"],
        )
        database = Database(os.environ[name.upper()], name)
        services.append(Service(f"services.{name}", settings, FastAPI(), database, HANDLERS[name]))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = Worker(services, transport_for(services[0].settings))
    await worker.start()
    log.info("serving", process=os.getpid())
    await stop.wait()
    await worker.stop()
    for service in services:
        service.database.close()


def main(arguments: list[str]) -> None:
    """`teller COUNT SECONDS SEED DIE_AFTER`, or `services NAME,NAME`."""
    logging.configure("-".join(arguments[:2]), "info")
    # A killed relay's rows wait for its lease to end. Shorter than CONFIRM_TIMEOUT, which is the harder case:
    # two relays may send the same row at once.
    relay.LEASE = relay.timedelta(seconds=2)
    if os.environ.get("CRASH_POINT"):
        arm(os.environ["CRASH_POINT"], int(os.environ["CRASH_PASSING"]))
    if arguments[0] == "teller":
        tell_all(int(arguments[1]), float(arguments[2]), arguments[3], int(arguments[4]))
    else:
        asyncio.run(serve(arguments[1].split(",")))
