"""`python -m sandbox.mailbox`: serve the mailbox alone, SMTP and pages."""

import uvicorn

from sandbox.mailbox.app import build
from sandbox.mailbox.settings import MailboxSettings

if __name__ == "__main__":
    settings = MailboxSettings()
    uvicorn.run(build(settings), host=settings.host, port=settings.port, access_log=False)
