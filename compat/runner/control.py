"""What a program may ask for while it runs: that the broker is restarted, or blocks publishers for a while."""

import contextlib
import http.server
import threading


class Control:
    """An HTTP server on a free port. A request's answer comes when what was asked for has happened: 204, or 500 with the reason."""

    def __init__(self, broker):
        self.actions = {"/restart": broker.restart, "/block": broker.block, "/unblock": broker.unblock}
        actions = self.actions

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802, the name that the library calls
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, text = 404, "no such action"
                if action := actions.get(self.path):
                    try:
                        action()
                        status, text = 204, ""
                    except Exception as error:  # whatever it is, the program is told
                        status, text = 500, str(error) or repr(error)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"

    def stop(self):
        with contextlib.suppress(OSError):
            self.server.shutdown()
            self.server.server_close()
