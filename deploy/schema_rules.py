"""What may change in an event's schema while old and new code run side by side: a new optional field, nothing else.

Widening is as forbidden as narrowing: yesterday's reader refuses a value only today's writer knows.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_WORDS = {"title", "description", "default", "examples"}


def wire_schema(schema: Schema) -> Schema:
    """A model's JSON Schema as readers see it: references resolved, and fields they do not know allowed."""
    plain: Schema = _plain(schema, schema.get("$defs", {}))
    return plain


def incompatibilities(old: Schema, new: Schema, path: str = "") -> list[str]:
    """Every change from `old` to `new` (both from `wire_schema`) that breaks a reader or a message; none is good."""
    if "properties" not in old or "properties" not in new:
        same = _without_words(old) == _without_words(new)
        return [] if same else [f"{path or 'the event'}: was {_short(old)}, is {_short(new)}"]
    faults = []
    required_before, required_now = set(old.get("required", ())), set(new.get("required", ()))
    for name, before in old["properties"].items():
        where = f"{path}.{name}".lstrip(".")
        if name not in new["properties"]:
            faults.append(f"{where}: removed or renamed")
            continue
        if (name in required_before) != (name in required_now):
            faults.append(f"{where}: was {_need(name in required_before)}, is {_need(name in required_now)}")
        faults += incompatibilities(before, new["properties"][name], where)
    added = new["properties"].keys() - old["properties"].keys()
    faults += [f"{path}.{name}".lstrip(".") + ": new and required" for name in sorted(added & required_now)]
    return faults


def _plain(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return _plain({**target, **{k: v for k, v in node.items() if k != "$ref"}}, definitions)
    return {
        # A property may itself be called "title"; only keywords are left out.
        name: {key: _plain(value, definitions) for key, value in node[name].items()}
        if name == "properties"
        else _plain(node[name], definitions)
        for name in node
        if name not in ("$defs", "title") and not (name == "additionalProperties" and node[name] is False)
    }


def _without_words(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_words(item) for item in node]
    if isinstance(node, dict):
        return {name: _without_words(value) for name, value in node.items() if name not in _WORDS}
    return node


def _need(required: bool) -> str:
    return "required" if required else "optional"


def _short(schema: Schema) -> str:
    return str(_without_words(schema))[:200]
