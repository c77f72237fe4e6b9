"""The SMTP receiver: takes any mail for anybody, keeps it, and misbehaves on request."""

import asyncio
import logging
from typing import Any, Literal, TypeAlias

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from sandbox.mailbox.settings import MailboxSettings
from sandbox.mailbox.store import MailStore

Mode: TypeAlias = Literal["reject", "tempfail", "slow", "drop-mid-message", "lost-reply", "down"]
EVERYBODY = "*"
logging.getLogger("mail.log").setLevel(logging.WARNING)  # aiosmtpd writes addresses and commands at INFO


class Receiver:
    """A real SMTP server in the running loop; `start` and `stop` belong to the app's lifespan."""

    def __init__(self, store: MailStore, settings: MailboxSettings) -> None:
        """Prepare; nothing listens before `start`."""
        self._store = store
        self._settings = settings
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.BaseTransport] = set()
        self.port = settings.smtp_port
        self.modes: dict[str, tuple[Mode, float]] = {}

    async def start(self) -> None:
        """Listen; `port` is then the true port. OSError where the port is taken."""
        self._server = await asyncio.get_running_loop().create_server(
            self._protocol, self._settings.smtp_host, self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut the connections that are open."""
        if self._server:
            self._server.close()
            for transport in list(self._open):
                transport.abort()  # type: ignore[attr-defined]
            await self._server.wait_closed()
            self._server = None

    async def misbehave(self, address: str, mode: Mode | None, seconds: float = 5) -> None:
        """Misbehave towards one recipient (or `*`); None behaves again. `down` closes the door for everybody."""
        if mode is None:
            self.modes.pop(address.casefold(), None)
        else:
            self.modes[EVERYBODY if mode == "down" else address.casefold()] = (mode, seconds)
        await self._open_or_shut()

    async def behave(self) -> None:
        """Behave again towards everybody."""
        self.modes.clear()
        await self._open_or_shut()

    async def _open_or_shut(self) -> None:
        down = self.modes.get(EVERYBODY, ("", 0))[0] == "down"
        if down:
            await self.stop()
        elif self._server is None:
            await self.start()

    def mode_for(self, recipients: list[str]) -> tuple[Mode, float] | None:
        """Return how to misbehave towards the first of these that is named, or towards everybody."""
        for address in (*recipients, EVERYBODY):
            if address.casefold() in self.modes:
                return self.modes[address.casefold()]
        return None

    def _protocol(self) -> "_Conversation":
        return _Conversation(
            self, self._open, hostname="sandbox.mailbox", ident="sandbox mailbox, no mail leaves this machine",
            data_size_limit=self._settings.largest_mail, enable_SMTPUTF8=True, auth_require_tls=False,
            authenticator=lambda *_: AuthResult(success=True), loop=asyncio.get_running_loop(),
        )  # fmt: skip

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, rcpt_options: list[str]
    ) -> str:
        """Refuse a recipient, for good or for now, where told to."""
        mode = self.mode_for([address])
        if mode and mode[0] == "reject":
            return "550 5.1.1 No such mailbox"
        if mode and mode[0] == "tempfail":
            return "451 4.7.1 Try again later"
        if len(envelope.rcpt_tos) >= 100:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the mail; `250` is said only once it is kept."""
        recipients = [str(address) for address in envelope.rcpt_tos]
        mode = self.mode_for(recipients)
        if mode and mode[0] == "slow":
            await asyncio.sleep(mode[1])
        raw = envelope.content if isinstance(envelope.content, bytes) else str(envelope.content).encode()
        mail_id = await asyncio.to_thread(self._store.add, envelope.mail_from or "", recipients, raw)
        if mode and mode[0] == "lost-reply":
            server.transport.abort()  # type: ignore[union-attr]
        return f"250 2.0.0 kept as {mail_id}"


class _Conversation(SMTP):
    """aiosmtpd's server side, which may also hang up in the middle of a message."""

    def __init__(self, receiver: Receiver, transports: set[asyncio.BaseTransport], **options: Any) -> None:
        super().__init__(receiver, **options)
        self._receiver = receiver
        self._transports = transports
        self._mine: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._mine = transport
        self._transports.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._mine:
            self._transports.discard(self._mine)
        super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:
        recipients = [str(address) for address in self.envelope.rcpt_tos] if self.envelope else []
        mode = self._receiver.mode_for(recipients) if recipients else None
        if mode and mode[0] == "drop-mid-message" and self.transport:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            await self._reader.read(512)
            self.transport.abort()  # type: ignore[attr-defined]
            return
        await super().smtp_DATA(arg)
