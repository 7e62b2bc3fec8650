"""The explorer's web server, for the local user only.

It listens on 127.0.0.1 and accepts only requests for that host, which prevents DNS rebinding, under
a path that begins with the secret token of the printed address. A content security policy forbids
requests to other servers.
"""

import json
import secrets
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dash
import flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from mechgrok.analyses.explorer import actions, page
from mechgrok.analyses.explorer.opened import Opened
from mechgrok.analyses.explorer.tables import Shown
from mechgrok.errors import UserError
from mechgrok.global_state import in_neutral_state
from mechgrok.interventions import Intervention
from mechgrok.runs import Run

#: The preferred port, so that addresses stay the same.
USUAL_PORT = 8460
#: The page may load nothing from other servers. Dash's own scripts need the two exceptions.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; frame-ancestors *"
)


class _Quiet(WSGIRequestHandler):
    """A request handler that logs only server errors."""

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if str(code) >= "500":
            super().log_request(code, size)


class Explorer:
    """The explorer page of one or several runs, served until `close`.

    Args:
        runs: the runs by label; several are shown side by side.
        port: the port; default: the usual port, or any free one.

    Raises:
        UserError: the port is taken.
    """

    def __init__(self, runs: Mapping[str, Run], *, port: int | None = None) -> None:
        self.opened = Opened(runs)
        self.token = secrets.token_hex(16)
        self.app = make_app(self.opened, self.token)
        self.server = _listen(self.app.server, port)
        self.app.server.config["HOSTS"] = {
            f"{host}:{self.server.server_address[1]}" for host in ("127.0.0.1", "localhost")
        }

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/{self.token}/"

    def serve(self) -> None:
        """Serve requests until `close`."""
        self.server.serve_forever()

    def start(self) -> None:
        """Serve requests in a background thread."""
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self) -> None:
        """Stop the server, and the training of a fork."""
        if self.opened.fork is not None:
            self.opened.fork.kill()
        self.server.shutdown()
        self.server.server_close()

    def _repr_html_(self) -> str:
        """The page inside a notebook."""
        return f'<iframe src="{self.url}" width="100%" height="900" style="border:0"></iframe>'


def _listen(server: Any, port: int | None) -> BaseWSGIServer:
    # Bound here because werkzeug exits the program if a port is taken.
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for candidate in (USUAL_PORT, 0) if port is None else (port,):
            try:
                listening.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            listening.listen()
            host, bound = listening.getsockname()
            return make_server(
                host, bound, server, threaded=True, request_handler=_Quiet, fd=listening.fileno()
            )
    raise UserError(f"Port {port} is taken: choose another with --port, or leave it out.")


def make_app(opened: Opened, token: str) -> dash.Dash:
    """The Dash application of the runs, under a path with the token."""
    server = flask.Flask("mechgrok")
    # Requests run in threads beside the caller's own code, such as a notebook.
    server.wsgi_app = in_neutral_state(server.wsgi_app)  # type: ignore[method-assign]
    app = dash.Dash(
        "mechgrok",
        server=server,  # pyright: ignore[reportArgumentType]  # missing from its signature
        title=f"mechgrok: {', '.join(run.label for run in opened.known)}",
        update_title="",
        url_base_pathname=f"/{token}/",
        assets_folder=str(Path(__file__).with_name("assets")),
        serve_locally=True,
    )
    app.layout = lambda: page.layout(opened)
    actions.connect(app, opened)
    _guard(server, token)
    _serve_rows(server, opened, token)
    return app


def _guard(server: flask.Flask, token: str) -> None:
    @server.before_request
    def check() -> Any:
        if flask.request.host not in server.config["HOSTS"]:
            return _forbidden("This page is only available under 127.0.0.1.")
        prefix = flask.request.path.split("/")[1]
        if not secrets.compare_digest(prefix.encode(), token.encode()):
            return _forbidden("Open the address printed by mechgrok explore, with its token.")
        return None

    @server.after_request
    def protect(response: flask.Response) -> flask.Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _forbidden(message: str) -> flask.Response:
    return flask.Response(f"{message}\n", 403, mimetype="text/plain")


def _serve_rows(server: flask.Flask, opened: Opened, token: str) -> None:
    @server.errorhandler(UserError)
    def refuse(error: UserError) -> Any:
        return flask.Response(str(error), 422, mimetype="text/plain")

    def requested() -> tuple[Shown, list[Intervention]]:
        try:
            run = opened.known[int(flask.request.args["run"])]
            listed = json.loads(flask.request.args.get("do", "[]"))
        except (ValueError, KeyError, IndexError):
            raise UserError("The page requested a run that is not open: reload it.") from None
        return run, actions.interventions_of(listed)

    def number(name: str, below: int) -> int:
        try:
            value = int(flask.request.args.get(name, 0))
        except ValueError:
            value = -1
        if not 0 <= value < below:
            raise UserError(f"{name} is out of range: give a number from 0 to {below - 1}.")
        return value

    @server.get(f"/{token}/about")
    def about() -> Any:
        return flask.jsonify(requested()[0].about)

    @server.get(f"/{token}/show")
    def show() -> Any:
        chosen = flask.request.args.get("runs", "").split(",")
        opened.show([int(number) for number in chosen if number.isdecimal()])
        return flask.jsonify(opened.visible)

    @server.get(f"/{token}/rows")
    def rows() -> Any:
        run, interventions = requested()
        n_steps = len(run.run.steps)
        steps = run.run.steps[number("from", n_steps) : number("to", n_steps) + 1]
        neuron = number("neuron", run.n_neurons)
        body = b"".join(run.row(step, interventions, neuron).tobytes() for step in steps)
        return flask.Response(body, mimetype="application/octet-stream")

    @server.get(f"/{token}/mask")
    def mask() -> Any:
        run, interventions = requested()
        weight = run.run.wiring.full_name(flask.request.args.get("weight", ""))
        entries = run.mask(run.run.steps[number("at", len(run.run.steps))], interventions, weight)
        body = entries.astype("u1").tobytes()
        shape = {"X-Shape": ",".join(map(str, entries.shape))}
        return flask.Response(body, mimetype="application/octet-stream", headers=shape)
