"""A page in a real browser: it is served from this machine, a script runs in it, and what it finds comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
BROWSERS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "firefox": ("firefox", "firefox-esr"),
}

# Runs when the page is loaded; an error anywhere, or a rejected promise, comes back in place of the result.
REPORTER = """<script>
const send = (what) => fetch("/result", {method: "POST", body: JSON.stringify(what)});
addEventListener("error", (event) => send({error: `${event.message} at ${event.filename}:${event.lineno}`}));
addEventListener("load", async () => {
  try { send({result: await (async () => { SCRIPT })()}); } catch (error) { send({error: `${error}\\n${error.stack}`}); }
});
</script>"""


class _Handler(SimpleHTTPRequestHandler):
    """Serves the folder; the page gets the script, and the script's result is kept."""

    def __init__(
        self, *arguments: Any, page: str, script: str, found: list[Any], done: threading.Event, **named: Any
    ):
        self.page, self.script, self.found, self.done = page, script, found, done
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        if self.path != f"/{self.page}":  # a frame asks for "page?frame" and gets it without the script
            super().do_GET()
            return
        text = (Path(self.directory) / self.page).read_text(encoding="utf-8")
        # In front of the page's own scripts, so that their errors are heard.
        body = text.replace("<head>", f"<head>{REPORTER.replace('SCRIPT', self.script)}", 1).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.found.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.done.set()

    def log_message(self, *arguments: Any) -> None:
        pass


def in_browser(
    name: str,
    folder: Path,
    page: str,
    script: str,
    profile: Path,
    *,
    width: int = 1280,
    dark: bool = False,
    seconds: int = 120,
) -> Any:
    """What `script`, the body of an async function, returns in the page `folder/page`; `width` in pixels.

    Skips where the browser is not installed. Fails where the page or the script raises.
    """
    program = next((found for found in map(shutil.which, BROWSERS[name]) if found), None)
    if program is None:
        pytest.skip(
            "needs browser; install the package chromium"
            if name == "chromium"
            else f"{name} is not installed"
        )
    found: list[Any] = []
    done = threading.Event()
    handler = partial(_Handler, directory=str(folder), page=page, script=script, found=found, done=done)
    profile.mkdir(parents=True, exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{page}"
        if name == "chromium":
            dark_mode = ["--blink-settings=preferredColorScheme=0"] if dark else []
            command = [
                program, *CHROMIUM, *dark_mode, f"--user-data-dir={profile}", "--remote-debugging-port=0",
                f"--window-size={width},1000", address,
            ]  # fmt: skip
        else:
            scheme = f'user_pref("layout.css.prefers-color-scheme.content-override", {0 if dark else 1});\n'
            (profile / "user.js").write_text(scheme, encoding="utf-8")
            command = [
                program, "--headless", "--no-remote", "--profile", str(profile),
                "--width", str(width), "--height", "1000", address,
            ]  # fmt: skip
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            assert done.wait(seconds), f"{name} gave no result from {page} in {seconds} seconds"
        finally:
            browser.terminate()
            browser.wait(30)
            server.shutdown()
    assert "error" not in found[0], found[0]["error"]
    return found[0]["result"]
