"""The walls between the rooms: who may import whom, read from the source without running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("gateway", "services", "shared", "sandbox", "deploy")
SERVICES = ("identity", "billing", "provisioner", "notifier", "scheduler")

# Room: what it may import of ours, besides itself. `deploy` puts everything together and may import all.
ALLOWED: dict[str, tuple[str, ...]] = {
    "shared": (),
    "gateway": ("shared",),
    "sandbox": ("shared",),
    **{f"services.{name}": ("shared",) for name in SERVICES},
}


def imports(source: str, module: str) -> Iterator[tuple[int, str]]:
    """(line, full module name) of each import in the source of `module`, relative and inner ones included."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{start}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            # importlib.import_module("…") and __import__("…") go round the statement, not round the wall.
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def is_in(name: str, package: str) -> bool:
    """Whether the module is the package or something in it: whole words, `sharedx` is not in `shared`."""
    return name == package or name.startswith(package + ".")


def violations(source: str, module: str) -> list[str]:
    """What the source of `module` imports across a wall, each a sentence."""
    room = next((room for room in ALLOWED if is_in(module, room)), None)
    found = []
    for line, name in imports(source, module):
        top = name.partition(".")[0]
        if room is not None and top in ROOMS and not any(is_in(name, ours) for ours in (room, *ALLOWED[room])):
            found.append(f"{module}:{line} imports {name}; {room} may import {ALLOWED[room] or 'nobody'}")
        if top == "docker" and is_in(module, "services") and not is_in(module, "services.provisioner"):
            found.append(f"{module}:{line} imports docker; only the provisioner talks to Docker")
        if is_in(name, "services.billing.payments.paytr") and not (
            is_in(module, "services.billing.payments") or module == "services.billing.app"
        ):
            found.append(f"{module}:{line} imports {name}; only billing/payments knows PayTR, and app builds it")
        if top == "tests":
            found.append(f"{module}:{line} imports {name}; what runs does not lean on tests")
    return found


def modules() -> list[tuple[str, Path]]:
    """(module name, file) of all Python files of the rooms."""
    return [
        (".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
    ]


def test_nobody_imports_across_a_wall() -> None:
    checked = modules()
    assert len(checked) > 10
    found = [
        line
        for name, path in checked
        # In an __init__ one dot means the package itself, so its name gets one part more.
        for line in violations(path.read_text(), f"{name}.__init__" if path.stem == "__init__" else name)
    ]
    assert not found, "\n" + "\n".join(found)


def test_only_known_services_exist() -> None:
    if (ROOT / "services").is_dir():
        folders = {path.parent.name for path in (ROOT / "services").glob("*/*.py")}
        assert folders <= set(SERVICES)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("services.identity.routes", "from services.billing import plans"),
        ("services.identity.routes", "import services.billing.plans"),
        ("services.identity.routes", "from services import billing"),
        ("services.identity.routes", "from ..billing import plans"),
        ("services.identity.routes", "def f():\n    from services.billing.models import Plan"),
        ("services.identity.routes", "importlib.import_module('services.billing')"),
        ("services.identity.routes", "import gateway.app"),
        ("services.billing.routes", "import docker"),
        ("services.billing.routes", "from services.billing.payments import paytr"),
        ("services.billing.routes", "from deploy import database"),
        ("gateway.app", "from services.identity.app import build"),
        ("shared.http", "from gateway import app"),
        ("shared.http", "from deploy.local import engine"),
        ("sandbox.paytr", "from services.billing import payments"),
        ("deploy.database", "from tests import infrastructure"),
    ],
)
def test_the_check_sees_a_hole(module: str, source: str) -> None:
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("services.identity.routes", "from shared.errors import NotFound"),
        ("services.identity.routes", "from services.identity import users"),
        ("services.identity.routes", "from . import users"),
        ("services.provisioner.containers", "import docker"),
        ("services.billing.payments.callbacks", "from services.billing.payments import paytr"),
        ("services.billing.app", "from services.billing.payments.paytr import Client"),
        ("deploy.local.platform", "from services.billing.app import build"),
        ("gateway.app", "import sharedx, fastapi"),
    ],
)
def test_the_check_lets_the_doors_open(module: str, source: str) -> None:
    assert not violations(source, module)
