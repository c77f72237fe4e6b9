"""Write the event catalogue from the code: docs/events.md, docs/asyncapi.json and docs/schemas/<type>.json.

    python -m deploy.catalogue            write them
    python -m deploy.catalogue --check    say what is stale, and fail

A committed schema is a promise: a change that breaks it is refused. A new meaning is a new type; an event that
was never released can be withdrawn by removing its schema file.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from deploy.schema_rules import incompatibilities, wire_schema
from shared.events import Event, catalogue

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler")

EVENTS, ASYNCAPI, SCHEMAS = "docs/events.md", "docs/asyncapi.json", "docs/schemas"


@dataclass(frozen=True)
class Place:
    """Where in the code: a path from the root, and the function. No line: it would be stale with every edit above."""

    path: str
    function: str

    def __str__(self) -> str:
        return f"[`{self.path}`](../{self.path}) `{self.function}`"


def hearers() -> dict[str, dict[str, Place]]:
    """By event type: the services that hear it, and their functions."""
    found: dict[str, dict[str, Place]] = {}
    for package in (*(f"services.{name}" for name in SERVICES), "gateway"):
        handlers: Mapping[type[Event], Any] = import_module(f"{package}.handlers").HANDLERS
        for event, handler in handlers.items():
            place = Place(handler.__module__.replace(".", "/") + ".py", handler.__qualname__)
            found.setdefault(event.type, {})[package.rsplit(".", 1)[-1]] = place
    return found


def publishers() -> dict[str, list[Place]]:
    """By event type: the functions of its publisher that build it, or name it to have it built by a rule."""
    found: dict[str, list[Place]] = {type_: [] for type_ in catalogue()}
    for service in SERVICES:
        mine = {event.__name__: event.type for event in catalogue().values() if event.publisher() == service}
        for file in sorted((ROOT / "services" / service).rglob("*.py")):
            if file.name == "handlers.py" and service == "scheduler":
                continue  # names what it hears only
            for name, function in _names(ast.parse(file.read_text(encoding="utf-8")), set(mine)):
                place = Place(file.relative_to(ROOT).as_posix(), function)
                if place not in found[mine[name]]:
                    found[mine[name]].append(place)
    return found


def documents() -> dict[str, str]:
    """Every generated file by its path from the root. Raises ValueError where a committed schema is broken."""
    schemas = {type_: wire_schema(event.model_json_schema()) for type_, event in sorted(catalogue().items())}
    faults = broken_promises(schemas)
    if faults:
        raise ValueError("\n".join(faults))
    heard, told = hearers(), publishers()
    files = {EVENTS: _markdown(schemas, heard, told), ASYNCAPI: _json(_asyncapi(schemas, heard))}
    for type_, schema in schemas.items():
        dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"/schemas/{type_}.json"}
        files[f"{SCHEMAS}/{type_}.json"] = _json({**dialect, "title": catalogue()[type_].__name__, **schema})
    return files


def broken_promises(schemas: Mapping[str, dict[str, Any]], root: Path = ROOT) -> list[str]:
    """How `schemas` (by type) contradict the committed ones."""
    faults = []
    for file in sorted((root / SCHEMAS).glob("*.json")):
        if file.stem not in schemas:
            faults.append(f"{file.stem}: the event is gone; old messages of it may be on their way")
            continue
        committed = json.loads(file.read_text(encoding="utf-8"))
        faults += [f"{file.stem}: {fault}" for fault in incompatibilities(committed, schemas[file.stem])]
    return faults


def stale() -> list[str]:
    """The paths whose content is not what the code says."""
    return [
        path
        for path, content in documents().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text(encoding="utf-8") != content
    ]


def _names(tree: ast.AST, wanted: set[str], function: str = "(module)") -> Iterator[tuple[str, str]]:
    """Each use of a wanted class in an expression, with the function around it. Annotations and imports are none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inside in node.body:
                yield from _names(ast.Module([inside], []), wanted, node.name)
        elif isinstance(node, ast.arg):
            continue
        elif isinstance(node, ast.AnnAssign):
            if node.value is not None:
                yield from _names(ast.Module([ast.Expr(node.value)], []), wanted, function)
        elif isinstance(node, ast.Name) and node.id in wanted:
            yield node.id, function
        else:
            yield from _names(node, wanted, function)


def _markdown(
    schemas: dict[str, dict[str, Any]], heard: dict[str, dict[str, Place]], told: dict[str, list[Place]]
) -> str:
    lines = [
        "# Events",
        "",
        "Generated by `make docs` from `shared/events` and every service's `HANDLERS`; do not edit.",
        "",
    ]
    for publisher in SERVICES:
        lines += [f"## {publisher}", ""]
        for type_, schema in schemas.items():
            event = catalogue()[type_]
            if event.publisher() != publisher:
                continue
            lines += [f"### {type_}", "", " ".join((event.__doc__ or "").split()), ""]
            if event.sensitive:
                lines += ["Carries a secret: never logged, kept nowhere after its delivery.", ""]
            required = schema.get("required", [])
            lines += ["| field | type | |", "|---|---|---|"]
            for name, field in schema["properties"].items():
                subject = "the subject" if name == event.subject_field else ""
                note = "; ".join(filter(None, ["" if name in required else "optional", subject]))
                lines.append(f"| `{name}` | {_type(field)} | {note} |")
            lines += ["", "Told by " + (", ".join(map(str, told[type_])) or "nobody") + ".", ""]
            if heard.get(type_):
                by = ", ".join(f"{service} ({place})" for service, place in sorted(heard[type_].items()))
                lines += [f"Heard by {by}.", ""]
            else:
                lines += [f"Heard by nobody: {event.unread_because or 'no reason is given'}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _type(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "enum" in field:
        return "one of " + ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if "properties" in field:
        return "{" + ", ".join(f"`{name}`: {_type(inner)}" for name, inner in field["properties"].items()) + "}"
    name = str(field.get("format") or field.get("type") or "anything")
    limits = {"minimum": "≥ {}", "maximum": "≤ {}", "maxLength": "up to {} characters", "pattern": "`{}`"}
    said = [words.format(str(field[key]).replace("|", "\\|")) for key, words in limits.items() if key in field]
    return f"{name} ({', '.join(said)})" if said else name


def _asyncapi(schemas: dict[str, dict[str, Any]], heard: dict[str, dict[str, Place]]) -> dict[str, Any]:
    """https://www.asyncapi.com/docs/reference/specification/v3.0.0"""
    channels, operations, messages = {}, {}, {}
    for type_, schema in schemas.items():
        event = catalogue()[type_]
        key = type_.replace(".", "-")
        messages[key] = {
            "name": type_,
            "title": event.__name__,
            "summary": " ".join((event.__doc__ or "").split()),
            "contentType": "application/cloudevents+json",
            "payload": {
                "type": "object",
                "required": ["specversion", "id", "type", "source", "subject", "time", "sequence", "data"],
                "properties": {
                    "specversion": {"const": "1.0"},
                    "id": {"type": "string", "format": "uuid"},
                    "type": {"const": type_},
                    "source": {"const": f"/{event.publisher()}"},
                    "subject": {"type": "string"},
                    "time": {"type": "string", "format": "date-time"},
                    "sequence": {"type": "integer"},
                    "correlationid": {"type": "string", "maxLength": 64},
                    "causationid": {"type": "string", "maxLength": 64},
                    "data": schema,
                },
            },
        }
        channels[key] = {"address": type_, "messages": {key: {"$ref": f"#/components/messages/{key}"}}}
        for who, action in [(event.publisher(), "send"), *((s, "receive") for s in sorted(heard.get(type_, {})))]:
            operations[f"{who}-{action}-{key}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{key}"},
                "tags": [{"name": who}],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "YouArecoder events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 on the topic exchange `events`; the routing key is the event's type.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 where something is stale or a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m deploy.catalogue", description="Write the event catalogue.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a document is stale")
    check = parser.parse_args(arguments).check
    try:
        old = stale()
        if check:
            for path in old:
                print(f"{path} is stale: run `make docs`", file=sys.stderr)
            return 1 if old else 0
        for path, content in documents().items():
            if path in old:
                (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
                (ROOT / path).write_text(content, encoding="utf-8")
                print(path)
    except ValueError as error:
        print(f"Committed schemas are broken:\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
