"""`python -m services.notifier serve | api | worker | migrate | dead-letters …`."""

from services.notifier.app import build
from services.notifier.settings import Settings
from shared.command import main

main("services.notifier", Settings, build)
