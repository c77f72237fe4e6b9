"""`python -m services.scheduler serve | api | worker | migrate | dead-letters …`."""

from services.scheduler.app import build
from services.scheduler.settings import Settings
from shared.command import main

main("services.scheduler", Settings, build)
