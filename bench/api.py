"""How long the API and the pages take in normal use, with years of customers in the database.

    python -m bench.api [--rate 50] [--seconds 30] [--separate]

1,000 companies, 10,000 workspaces, 100,000 invoices (tests/journeys/large.py). Ten customers' admins who have logged in
ask in turns, at a fixed rate whatever the answers take, for what people ask for: lists, pages, a workspace renamed.
The platform is the one `make up` starts, asked through Traefik.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import aiohttp

from tests.journeys.large import grow
from tests.journeys.person import PASSWORD, Person
from tests.journeys.platform import RunningPlatform

CUSTOMERS = 10
ASKED = (
    "/dashboard", "/api/v1/workspaces", "/api/v1/workspaces/quota", "/api/v1/me", "/api/v1/subscription",
    "/api/v1/workspaces?limit=5", "/billing/", "/api/v1/invoices", "/team", "/api/v1/members", "/api/v1/payments",
    "/account", "rename",
)  # fmt: skip


def main() -> None:
    """Prints milliseconds for each kind of request, and for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--separate", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="youarecoder-bench-", dir="/var/tmp"))
    folder.chmod(0o711)  # PostgreSQL runs as an account of its own
    shape = "separate" if given.separate else "embedded"
    nothing = {"GATEWAY_RATE_SCALE": "1000", "DOCKER_HOST": "unix:///nonexistent"}
    platform = RunningPlatform(folder / "data", shape, extra=nothing)
    try:
        grow(platform)
        platform.start()
        with ExitStack() as stack:
            people = [stack.enter_context(Person(platform, "en")) for _ in range(CUSTOMERS)]
            for number, person in enumerate(people, 1):
                assert person.log_in(f"p{number}@large.example", PASSWORD).status_code == 303
            times, failures = asyncio.run(ask(platform, people, given.rate, given.seconds))
        print(f"{given.rate:.0f} requests/s for {given.seconds:.0f} s, {shape}, {os.cpu_count()} cores; ms")
        for what, values in [*sorted(times.items()), ("all", list(itertools.chain(*times.values())))]:
            print(f"  {what:<28} p50 {statistics.median(values):>6.1f}   p99 {_percentile(values, 0.99):>6.1f}")
        print(f"  not answered with 2xx: {failures}")
    finally:
        platform.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def ask(
    platform: RunningPlatform, people: list[Person], rate: float, seconds: float
) -> tuple[dict[str, list[float]], int]:
    """Milliseconds by kind of request, from the moment each was due; and how many failed."""
    times: dict[str, list[float]] = defaultdict(list)
    failures = 0
    known = [(person, person.token(), person.get("/workspaces?limit=1")["items"][0]["id"]) for person in people]

    async def one(client: aiohttp.ClientSession, what: str, turn: int, due: float) -> None:
        nonlocal failures
        person, token, workspace = known[turn % len(known)]
        cookie = "; ".join(f"{name}={value}" for name, value in person.http.cookies.items())
        headers = {"Host": f"youarecoder.localhost:{platform.port}", "Cookie": cookie}
        method, path, body = "GET", what, None
        if what == "rename":
            method, path, body = "PATCH", f"/api/v1/workspaces/{workspace}", {"name": f"renamed {turn}"}
            headers["X-CSRF-Token"] = token
        async with client.request(method, f"http://127.0.0.1:{platform.port}{path}", json=body, headers=headers) as got:
            await got.read()
            failures += not 200 <= got.status < 300
        times[what].append((time.perf_counter() - due) * 1000)

    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for turn in range(len(ASKED) * 3):  # every page once compiled, every connection made
            await one(client, ASKED[turn % len(ASKED)], turn, time.perf_counter())
        times.clear()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for turn in range(int(rate * seconds)):
                due = began + turn / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(one(client, ASKED[turn % len(ASKED)], turn // len(ASKED), due))
    return times, failures


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


if __name__ == "__main__":
    main()
