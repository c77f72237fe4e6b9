"""`python -m services.billing serve | api | worker | migrate | dead-letters`."""

from services.billing.app import build
from services.billing.settings import Settings
from shared.command import main

if __name__ == "__main__":
    main("services.billing", Settings, build)
