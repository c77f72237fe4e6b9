"""`python -m services.provisioner serve | api | worker | migrate | dead-letters`."""

from services.provisioner.app import build
from services.provisioner.settings import Settings
from shared.command import main

main("services.provisioner", Settings, build)
