"""Ask a collector whether it takes the token in a file: prints absent, taken, refused or unreachable.

    token_state.py URL TOKEN_FILE AUTHORITY_FILE

An empty write is a question that changes nothing: 401 to a token that is not known or was revoked, anything else to one
that is.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path


def state(url: str, token_file: Path, authority: Path) -> str:
    """Return what the collector says of the token."""
    try:
        token = token_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return "absent"
    if not token:
        return "absent"
    request = urllib.request.Request(  # noqa: S310  (an address of our own configuration)
        f"{url}/api/v2/write?org=nhip&bucket=nhip&precision=ns",
        data=b"",
        headers={"Authorization": f"Token {token}"},
    )
    try:
        context = ssl.create_default_context(cafile=str(authority))
        with urllib.request.urlopen(request, timeout=5, context=context):  # noqa: S310  (as above)
            return "taken"
    except urllib.error.HTTPError as exc:
        return "refused" if exc.code == 401 else "taken"  # noqa: PLR2004  (the status itself)
    except (OSError, ValueError):
        return "unreachable"


if __name__ == "__main__":
    print(state(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
