"""A running JupyterLab, asked as a browser asks it: pages, a kernel, cells run again."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import pytest
from live_page import CHECK, PARAMETERS, REPOSITORY, SHOW, environment
from tornado.websocket import websocket_connect

TOKEN = "a-token-for-a-test"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a server started as ``make lab`` starts it, from a reader's own folder."""
    work = tmp_path_factory.mktemp("work")
    env = environment(work) | {
        "JUPYTER_CONFIG_PATH": str(REPOSITORY / ".jupyter"),
        "JUPYTER_RUNTIME_DIR": str(work / "runtime"),
        "JUPYTER_CONFIG_DIR": str(work / "config"),
        "JUPYTER_DATA_DIR": str(work / "data"),
        "DOAM_HOME": os.environ.get("DOAM_HOME", str(work)),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0"]
    command += [f"--IdentityProvider.token={TOKEN}", "--ServerApp.allow_root=True"]
    log = (work / "log").open("w")
    process = subprocess.Popen(command, cwd=work, env=env, stdout=log, stderr=log)
    try:
        yield _address(process, work)
    finally:
        process.terminate()
        process.wait(60)
        log.close()


def _address(process, work: Path) -> str:
    """Where the server says that it listens, as soon as it does."""
    for _ in range(600):
        assert process.poll() is None, (work / "log").read_text()[-2000:]
        for told in (work / "runtime").glob("jpserver-*.json"):
            if (text := told.read_text()).rstrip().endswith("}"):  # it is being written else
                return json.loads(text)["url"]
        time.sleep(0.2)
    raise AssertionError((work / "log").read_text()[-2000:])


def ask(server: str, path: str, body: dict | None = None) -> dict:
    request = urllib.request.Request(
        server + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


async def run(socket, code: str) -> tuple[str, list[str]]:
    """What a cell prints, and the traceback that it shows."""
    asked = str(uuid.uuid4())
    header = {"msg_id": asked, "msg_type": "execute_request", "version": "5.3"}
    header |= {"username": "reader", "session": "browser", "date": "2026-01-01T00:00:00Z"}
    message = {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell"}
    content = {"code": code, "silent": False, "store_history": True}
    await socket.write_message(json.dumps(message | {"content": content}))
    printed, traceback = "", []
    while True:
        told = json.loads(await socket.read_message())
        if told["parent_header"].get("msg_id") != asked:
            continue
        kind, content = told["header"]["msg_type"], told["content"]
        if kind == "stream":
            printed += content["text"]
        elif kind == "error":
            traceback = content["traceback"]
        elif kind == "status" and content["execution_state"] == "idle":
            return printed, traceback


@pytest.mark.slow
def test_the_start_page_opens_first_and_pages_have_no_raw_markup(server):
    start = ask(server, "api/contents/START.md")["content"]
    assert start.startswith("# Start here") and "(measuring.ipynb)" in start
    page = ask(server, "api/contents/measuring.ipynb")["content"]
    text = "\n".join(c["source"] for c in page["cells"] if c["cell_type"] == "markdown")
    assert "{glue:text}" not in text and "{cite}" not in text and "{eval}`" in text


@pytest.mark.slow
def test_parameters_changed_in_a_live_kernel_count_once_their_cells_have_run(server):
    kernel = {"name": "python3"}
    session = {"path": "measuring.ipynb", "name": "", "type": "notebook", "kernel": kernel}
    identity = ask(server, "api/sessions", session)["kernel"]["id"]
    where = server.replace("http", "ws", 1) + f"api/kernels/{identity}/channels?token={TOKEN}"

    async def work() -> None:
        socket = await websocket_connect(where)

        async def seeds() -> list[int]:
            return json.loads((await run(socket, SHOW))[0].splitlines()[-1])["seeds"]

        for cell in (PARAMETERS.source, CHECK.source, CHECK.source):
            assert not (await run(socket, cell))[1]
        assert await seeds() == [0]
        await run(socket, PARAMETERS.source.replace("seeds = [0]", "seeds = [1, 2]"))
        assert await seeds() == [0]
        await run(socket, CHECK.source)
        assert await seeds() == [1, 2]
        await run(socket, PARAMETERS.source.replace("seeds = [0]", "seeds = [-1]"))
        (line,) = (await run(socket, CHECK.source))[1]
        assert "seeds" in line and "-1" in line
        socket.close()

    asyncio.run(asyncio.wait_for(work(), 300))
