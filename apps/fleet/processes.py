"""Start Flower's processes on this machine, and end every one of them.

A fleet on one machine is a SuperLink and, unless it simulates its clients
itself, a SuperNode a client, all on 127.0.0.1 with ports that are free. They
have a folder of their own for what Flower keeps, send no telemetry, look for no
update and install nothing while they run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tflm_fg.types import TflmFgError

HOST = "127.0.0.1"
START_SECONDS = 60.0
"""How long a SuperLink may take until it answers."""

END_SECONDS = 10.0
"""How long a process may take to end before it is killed."""

CONNECTION = "fleet"
"""The SuperLink's name in Flower's configuration."""

MISSING = "Flower is missing: pip install 'tflm-fg[fleet]'"
SETTINGS: Mapping[str, str] = {
  "FLWR_TELEMETRY_ENABLED": "0",
  "FLWR_DISABLE_UPDATE_CHECK": "1",
  "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
  "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
  "RAY_USAGE_STATS_ENABLED": "0",
}
"""Of the environment: no telemetry, no look for updates, no installation."""

_HOME = "FLWR_HOME"

_WATCH = """\
import sys; sys.stdin.read()  # until whoever started it has ended
from apps.fleet import processes; processes.clear(sys.argv[1])"""


class Link(NamedTuple):
  """A SuperLink that runs, or that others run.

  Attributes:
    address: host and port.
    home: the folder in which Flower keeps its configuration and logs.
  """

  address: str
  home: pathlib.Path


def require_flower() -> None:
  """Says how to install Flower where it is not there.

  Raises:
    TflmFgError: if it is missing.
  """
  if importlib.util.find_spec("flwr") is None:
    raise TflmFgError(MISSING)


class Flower:
  """Flower's processes of one run; at the end of the block all are ended.

  Attributes:
    home: a folder of its own, in which Flower keeps configuration and logs.
  """

  def __init__(self) -> None:
    self.home = pathlib.Path(tempfile.mkdtemp(prefix="tflm_fg_fleet_"))
    self._processes: list[subprocess.Popen[bytes]] = []
    self._watcher = subprocess.Popen(
      [sys.executable, "-c", _WATCH, self.home],
      stdin=subprocess.PIPE,
      start_new_session=True,
    )

  def __enter__(self) -> Flower:
    """Itself."""
    return self

  def __exit__(self, *unused: object) -> None:
    """Ends what runs, and what that has left behind; removes the folder."""
    del unused
    end(self._processes)
    clear(self.home)
    end([self._watcher])
    self._watcher.communicate()  # closes its pipe

  def superlink(self, simulation: bool = False) -> Link:
    """Starts a SuperLink and waits until it answers.

    Args:
      simulation: whether it simulates its clients, with Ray.

    Raises:
      TflmFgError: if it does not start.
    """
    address = f"{HOST}:{free_port()}"
    process = self._start(
      "superlink",
      "flower-superlink",
      "--insecure",
      f"--host={HOST}",
      f"--port={address.rpartition(':')[2]}",
      "--disable-runtime-dependency-installation",
      *(["--simulation"] if simulation else []),
    )
    _wait_until_it_answers(process, address, self.home / "superlink.log")
    return known(self.home, address)

  def supernode(
    self, link: Link, name: str, node_config: Mapping[str, str | int]
  ) -> None:
    """Starts a SuperNode, which is one client.

    Args:
      link: where it connects to.
      name: of its log.
      node_config: what its ClientApp is told, such as where its samples are.
    """
    self._start(
      name,
      "flower-supernode",
      "--insecure",
      f"--superlink={link.address}",
      f"--host={HOST}",
      f"--port={free_port()}",
      f"--node-config={written(node_config)}",
    )

  def _start(
    self, name: str, command: str, *flags: str
  ) -> subprocess.Popen[bytes]:
    """Starts one of Flower's programs; what it says is in NAME.log."""
    with open(self.home / f"{name}.log", "wb") as log:
      process = subprocess.Popen(
        [program(command), *flags],
        env=environment(self.home),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C ends them here, in order
      )
    self._processes.append(process)
    return process


def known(folder: pathlib.Path, address: str, insecure: bool = True) -> Link:
  """Writes an address into Flower's configuration.

  Args:
    folder: of `Flower`.
    address: of the SuperLink.
    insecure: whether it speaks without TLS.
  """
  (folder / "config.toml").write_text(
    f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\n'
    f'address = "{address}"\ninsecure = {str(insecure).lower()}\n',
    encoding="utf-8",
  )
  return Link(address, folder)


def submit(
  link: Link,
  app: str | os.PathLike[str],
  run_config: Mapping[str, str | int | float | bool],
  federation_config: Mapping[str, str | int] | None = None,
  timeout: float | None = None,
) -> str:
  """Runs an app on a SuperLink, and waits for its end.

  Args:
    link: the SuperLink.
    app: folder of the Flower app.
    run_config: keys of its pyproject.toml, with other values.
    federation_config: of a simulation, as `num-supernodes`.
    timeout: seconds after which it is given up; None for never.

  Returns:
    Its log.

  Raises:
    TflmFgError: if Flower refuses it, or it takes too long.
  """
  more = []
  if federation_config:
    more = [f"--federation-config={written(federation_config)}"]
  command = [
    program("flwr"),
    "run",
    os.fspath(app),
    CONNECTION,
    f"--run-config={written(run_config)}",
    *more,
    "--stream",
  ]
  try:
    done = subprocess.run(
      command,
      env=environment(link.home),
      capture_output=True,
      text=True,
      errors="replace",
      timeout=timeout,
      check=False,
    )
  except subprocess.TimeoutExpired:
    raise TflmFgError(
      f"the fleet's run did not end within {timeout:g} s; see that every "
      "client is there"
    ) from None
  if done.returncode:
    raise TflmFgError(f"flwr run: {_last_line(done.stderr or done.stdout)}")
  return done.stdout


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
  """Ends processes side by side, by force where they do not."""
  for process in processes:
    process.terminate()
  until = time.monotonic() + END_SECONDS
  for process in processes:
    try:
      process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
      process.kill()
      process.wait()


def end_all(folder: pathlib.Path) -> None:
  """Ends what Flower's processes started and left behind.

  A process is one of these if its environment names the folder, which no other
  has. This can be seen on Linux; elsewhere such processes end by themselves,
  as they watch their parents.
  """
  for number in (signal.SIGTERM, signal.SIGKILL):
    found = _of(folder)
    for pid in found:
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    until = time.monotonic() + END_SECONDS
    while found and _of(folder) and time.monotonic() < until:
      time.sleep(0.05)


def clear(folder: str | os.PathLike[str]) -> None:
  """Ends what is left of a run, and removes its folder."""
  end_all(pathlib.Path(folder))
  shutil.rmtree(folder, ignore_errors=True)


def _of(folder: pathlib.Path) -> list[int]:
  """Processes whose environment names the folder; never this one."""
  wanted = f"{_HOME}={folder}".encode()
  found = []
  for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
    pid = int(path.parent.name)
    with contextlib.suppress(OSError):  # it has ended, or is another user's
      state = (path.parent / "stat").read_text().rpartition(")")[2].split()[0]
      if wanted in path.read_bytes().split(b"\0") and state != "Z":
        found.append(pid)
  return [pid for pid in found if pid != os.getpid()]


def environment(folder: pathlib.Path) -> dict[str, str]:
  """Of Flower's processes; they find each other by the PATH."""
  here = os.path.dirname(sys.executable)
  path = os.pathsep.join([here, os.environ.get("PATH", "")])
  return {**os.environ, **SETTINGS, _HOME: str(folder), "PATH": path}


def program(name: str) -> str:
  """Where one of Flower's programs is: beside this Python, or on the PATH.

  Raises:
    TflmFgError: if it is missing.
  """
  here = os.path.dirname(sys.executable)
  found = shutil.which(name, path=here) or shutil.which(name)
  if found is None:
    raise TflmFgError(MISSING)
  return found


def free_port() -> int:
  """A port of the loopback that nobody listens on."""
  with socket.socket() as one:
    one.bind((HOST, 0))
    return int(one.getsockname()[1])


def written(config: Mapping[str, str | int | float | bool]) -> str:
  """Values as Flower's command line takes them.

  Raises:
    TflmFgError: if a text holds what that cannot carry.
  """
  parts = []
  for key, value in config.items():
    if isinstance(value, bool):
      parts.append(f"{key}={str(value).lower()}")
    elif isinstance(value, str):
      if any(mark in value for mark in "\"'\n\\"):
        raise TflmFgError(
          f"{value!r}: quotes, backslashes and line ends cannot be told to "
          "Flower; rename the file"
        )
      parts.append(f'{key}="{value}"')
    else:
      parts.append(f"{key}={value}")
  return " ".join(parts)


def _wait_until_it_answers(
  process: subprocess.Popen[bytes], address: str, log: pathlib.Path
) -> None:
  until = time.monotonic() + START_SECONDS
  while time.monotonic() < until and process.poll() is None:
    with (
      contextlib.suppress(OSError),
      urllib.request.urlopen(f"http://{address}/health", timeout=1),
    ):
      return
    time.sleep(0.1)
  said = _last_line(log.read_text(encoding="utf-8", errors="replace"))
  raise TflmFgError(f"the SuperLink does not start: {said}")


def _last_line(text: str) -> str:
  """What a program said last, without the frame that is drawn around it."""
  lines = [line.strip(" │╰╭─╯╮\t") for line in text.splitlines()]
  return ([line for line in lines if line] or ["it said nothing"])[-1]
