"""`python -m gateway serve | api | worker | migrate | dead-letters …`."""

from gateway.app import build
from gateway.settings import Settings
from shared.command import main

main("gateway", Settings, build)
