"""`python -m services.identity serve | api | worker | migrate | dead-letters`."""

from services.identity.app import build
from services.identity.settings import Settings
from shared.command import main

if __name__ == "__main__":
    main("services.identity", Settings, build)
