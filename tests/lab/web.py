"""The one-stop system's web server: one page, over HTTP and HTTPS.

python -m tests.lab.web FOLDER
"""

from __future__ import annotations

import functools
import http.server
import ssl
import sys
import threading
from pathlib import Path


class _Secure(http.server.ThreadingHTTPServer):
    """Reads its certificate anew for each connection, so that a new one is shown at once."""

    folder: Path

    def finish_request(self, request: object, client_address: object) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        try:
            secured = context.wrap_socket(request, server_side=True)  # type: ignore[arg-type]  # it is a socket
        except OSError:  # the client does not like what it sees
            return
        super().finish_request(secured, client_address)  # type: ignore[arg-type]  # as above


def main() -> None:
    """Serve the folder's page until killed."""
    folder = Path(sys.argv[1])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    _Secure.folder = folder
    secure = _Secure(("", 443), handler)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    http.server.ThreadingHTTPServer(("", 80), handler).serve_forever()


if __name__ == "__main__":
    main()
