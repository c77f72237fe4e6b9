"""`python -m sandbox.paytr`: serve the PayTR sandbox alone."""

import uvicorn

from sandbox.paytr.app import build
from sandbox.paytr.settings import PaytrSandboxSettings

if __name__ == "__main__":
    settings = PaytrSandboxSettings()
    uvicorn.run(build(settings), host=settings.host, port=settings.port, access_log=False)
