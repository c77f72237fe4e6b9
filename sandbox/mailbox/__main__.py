"""`python -m sandbox.mailbox`: serve the mailbox alone, SMTP and pages."""

import uvicorn

from sandbox.mailbox.app import build
from sandbox.mailbox.settings import MailboxSettings
from shared.settings import secrets_directory

if __name__ == "__main__":
    settings = MailboxSettings(_secrets_dir=secrets_directory())
    uvicorn.run(build(settings), host=settings.host, port=settings.port, access_log=False)
