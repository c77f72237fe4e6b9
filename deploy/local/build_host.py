"""How this machine reaches Debian's and npm's packages, for the stages of a build that are thrown away.

A company's machine may know a mirror, a proxy and a certificate authority of its own. A build needs them; the image
that comes out must not have them. Credentials are never taken.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.engine import read_os_release

DEFAULT_MIRROR = "http://deb.debian.org/debian"
_DEFAULT_NPM = "https://registry.npmjs.org/"
_CA_VARIABLES = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
_CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
#: What of apt's configuration says how to reach a server. Nothing else of the host's taste is taken along.
_APT_TRANSPORT = re.compile(
    r"^Acquire::(?:https?(?:::[^ ]*)?::(?:Proxy|Verify-Peer|Verify-Host|CaInfo)|Check-Valid-Until|Check-Date"
    r"|Retries) ",
    re.IGNORECASE,
)

_USE = r"""#!/bin/sh
# Use the building machine's way to the package archives, for this stage only.
set -eu
here=$(dirname "$0")
cp -p /etc/apt/sources.list.d/debian.sources /build/debian.sources.image
if [ -s "$here/ca.crt" ]; then cp "$here/ca.crt" /build/ca.crt; fi
mirror=$(cat "$here/mirror")
sed -i "s|http://deb.debian.org/debian\$|$mirror|; s|http://deb.debian.org/debian-security|${mirror%/}-security|" \
    /etc/apt/sources.list.d/debian.sources
cp "$here/apt.conf" /etc/apt/apt.conf.d/99build-host
"""
_FORGET = """#!/bin/sh
set -eu
mv /build/debian.sources.image /etc/apt/sources.list.d/debian.sources
rm -f /etc/apt/apt.conf.d/99build-host
"""


def files() -> dict[str, bytes]:
    """The files of `host/` in a build context: scripts `use` and `forget`, apt's and npm's way out, the CAs."""
    return {
        "use": _USE.encode(),
        "forget": _FORGET.encode(),
        "mirror": debian_mirror().encode(),
        "apt.conf": _apt_conf().encode(),
        "npmrc": f"registry={_npm_registry()}\nfund=false\naudit=false\n".encode(),
        "environment": _proxy_environment().encode(),
        "ca.crt": ca_bundle(),
    }


def debian_mirror(sources_dir: Path = Path("/etc/apt"), os_release: Path = Path("/etc/os-release")) -> str:
    """The mirror of a Debian host, else Debian's own. `DEBIAN_MIRROR` overrides; user names in URLs are refused."""
    configured = os.environ.get("DEBIAN_MIRROR")
    if configured:
        return configured.rstrip("/")
    if read_os_release(os_release).get("ID") != "debian":
        return DEFAULT_MIRROR
    candidates = [sources_dir / "sources.list", *sorted((sources_dir / "sources.list.d").glob("*"))]
    for path in candidates:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        for line in path.read_text(errors="replace").splitlines():
            found = re.match(r"(?:deb\s+(?:\[[^\]]*\]\s+)?|URIs:\s*)(https?://\S+/debian)/?(?:\s|$)", line)
            if found and "@" not in urlsplit(found[1]).netloc:
                return found[1]
    return DEFAULT_MIRROR


def ca_bundle() -> bytes:
    """The authorities this machine trusts, PEM; empty where none are known."""
    for path in [*(Path(os.environ[name]) for name in _CA_VARIABLES if os.environ.get(name)), _CA_BUNDLE]:
        if path.is_file():
            return path.read_bytes()
    return b""


def _apt_conf() -> str:
    lines = ['Acquire::Retries "3";']
    if shutil.which("apt-config"):
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=False).stdout
        lines += [line for line in dump.splitlines() if _APT_TRANSPORT.match(line) and "@" not in line]
    if ca_bundle():
        lines.append('Acquire::https::CaInfo "/build/ca.crt";')
    return "\n".join(lines) + "\n"


def _npm_registry() -> str:
    url = os.environ.get("NPM_CONFIG_REGISTRY", "")
    if not url and shutil.which("npm"):
        url = subprocess.run(
            ["npm", "config", "get", "registry"], capture_output=True, text=True, timeout=60, check=False
        ).stdout.strip()
    usable = url.startswith(("http://", "https://")) and "@" not in urlsplit(url).netloc
    return url if usable else _DEFAULT_NPM


def _proxy_environment() -> str:
    """Shell lines; a proxy with a password in its address is left out rather than written down."""
    pairs = {name: os.environ[name] for name in _PROXY_VARIABLES if os.environ.get(name)}
    safe = {name: value for name, value in pairs.items() if re.fullmatch(r"[A-Za-z0-9.:/,*_\[\]-]+", value)}
    return "".join(f"export {name}='{value}'\n" for name, value in safe.items())
