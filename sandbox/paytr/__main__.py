"""`python -m sandbox.paytr`: serve the PayTR sandbox alone."""

import uvicorn

from sandbox.paytr.app import build
from sandbox.paytr.settings import PaytrSandboxSettings
from shared.settings import secrets_directory

if __name__ == "__main__":
    settings = PaytrSandboxSettings(_secrets_dir=secrets_directory())
    uvicorn.run(build(settings), host=settings.host, port=settings.port, access_log=False)
