"""The archive's signing key: made once, kept outside the tree, its public half in every bundle."""

from __future__ import annotations

import subprocess
from pathlib import Path

from playbooks.bundle.debian import BundleError

HOME = Path("~/.config/nhip/bundle-key")
PUBLIC = "nhip-archive-keyring.gpg"


def sign(release: Path, public: Path, home: Path) -> None:
    """Sign `release` as InRelease and Release.gpg beside it, and write the public key; make one where there is none."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if "sec:" not in _gpg(home, "--list-secret-keys", "--with-colons"):
        _gpg(home, "--quick-generate-key", "Nhip bundle", "ed25519", "sign", "never")
    inline, detached = release.with_name("InRelease"), release.with_name("Release.gpg")
    _gpg(home, "--yes", "--output", str(inline), "--clear-sign", str(release))
    _gpg(home, "--yes", "--output", str(detached), "--armor", "--detach-sign", str(release))
    _gpg(home, "--yes", "--output", str(public), "--export")


def _gpg(home: Path, *argv: str) -> str:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    try:
        done = subprocess.run([*command, *argv], capture_output=True, text=True, check=False)  # noqa: S603  (gpg)
    except FileNotFoundError:
        raise BundleError("gpg is missing; type: sudo apt-get install gpg gpg-agent") from None
    if done.returncode:
        raise BundleError(f"gpg failed: {done.stderr.strip()}")
    return done.stdout
