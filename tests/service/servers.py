"""The servers that replicas share, each a real one in a folder of its own: Redis, Postgres, moto's S3, and nginx.

A machine without one of them skips what needs it; .ci/run sees to it that there is one.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Server:
    """A server that can be stopped for a while, and lose what it knew.

    Attributes:
        url: what a setting is set to.
        forget: removes all that it holds.
        lose: the same, as a crash does it: Redis, which has nothing on its disk here, is killed and started again.
        process: gives the server's own.
    """

    url: str
    forget: Callable[[], None]
    lose: Callable[[], None]
    process: Callable[[], subprocess.Popen[bytes]]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections, and does not answer."""
        for process in family(self.process().pid):
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in family(self.process().pid):
                os.kill(process, signal.SIGCONT)


def family(process: int) -> list[int]:
    """A process and all that descend from it, parents first."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(one for child in children for one in family(int(child)))]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[Server]:
    program = shutil.which("redis-server") or pytest.skip("redis-server is not installed")
    import redis

    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with contextlib.ExitStack() as stack, contextlib.closing(redis.Redis(port=port)) as client:

        def start() -> subprocess.Popen[bytes]:
            process = stack.enter_context(_running(command))
            _wait(client.ping, process)
            return process

        def lose() -> None:
            started[-1].kill()
            started[-1].wait(60)
            started.append(start())

        started = [start()]
        yield Server(f"redis://127.0.0.1:{port}/0", lambda: client.flushall() and None, lose, lambda: started[-1])


@contextlib.contextmanager
def postgres_server(folder: Path) -> Iterator[Server]:
    """Debian keeps its programs out of the path, and they refuse to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    programs = found[-1] if found else Path(shutil.which("initdb") or pytest.skip("PostgreSQL is not installed")).parent
    import psycopg

    port, data = free_port(), folder / "data"
    user: dict[str, str] = {"user": "nobody", "group": "nogroup"} if os.getuid() == 0 else {}
    folder.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    init = [str(programs / "initdb"), "-D", str(data), "-U", "gan", "-A", "trust", "--no-sync"]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)  # type: ignore[call-overload]
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", str(folder), "-c", "fsync=off"]
    with _running([str(programs / "postgres"), "-D", str(data), *options], folder, user) as process:
        url = f"postgres://gan@127.0.0.1:{port}/postgres"
        _wait(lambda: psycopg.connect(url).close(), process)

        def forget() -> None:
            with psycopg.connect(url, autocommit=True) as client:
                for (table,) in client.execute("SELECT tablename FROM pg_tables WHERE tablename = 'saq_jobs'"):
                    client.execute(f"TRUNCATE {table}")

        yield Server(url, forget, forget, lambda: process)


@contextlib.contextmanager
def s3_server() -> Iterator[tuple[str, dict[str, str]]]:
    """A bucket's URL, and what the environment has to say of it."""
    program = ROOT / "build" / "s3" / "bin" / "moto_server"
    if not program.is_file():
        pytest.skip("the S3 server is not installed: make test does it")
    import requests

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        "AWS_ENDPOINT": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }
    with _running([str(program), "-H", "127.0.0.1", "-p", str(port)]) as process:
        _wait(lambda: requests.put(f"{address}/gan", timeout=5).raise_for_status(), process)
        yield "s3://gan/kept", environment


@contextlib.contextmanager
def nginx(folder: Path, servers: Sequence[str]) -> Iterator[str]:
    """A proxy that gives requests to the servers in turns and says whom they come from; its address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or pytest.skip("nginx is not installed")
    port = free_port()
    (folder / "nginx.conf").write_text(f"""
        daemon off; pid {folder}/pid; error_log {folder}/log; worker_processes 1;
        events {{}}
        http {{
            access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            upstream replicas {{ {"".join(f"server {url.removeprefix('http://')};" for url in servers)} }}
            server {{
                listen 127.0.0.1:{port};
                location / {{
                    proxy_pass http://replicas;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                }}
            }}
        }}
    """)
    import requests

    url = f"http://127.0.0.1:{port}"
    with _running([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)], folder) as process:
        _wait(lambda: requests.get(f"{url}/livez", timeout=5), process)
        yield url


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path | None = None, user: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **(user or {}),
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def _wait(ask: Callable[[], object], process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            ask()
            return
        except Exception as error:  # each client has its own
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{process.args!r} does not answer: {error}")
        time.sleep(0.05)
