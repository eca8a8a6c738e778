"""The server's side: it sums up what the nodes send, and sends steps back."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from . import task
from .strategy import lead, wait_for_nodes

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
  """Runs all rounds, and writes what came of them.

  Args:
    grid: the nodes.
    context: of the run; its configuration is in pyproject.toml.
  """
  config = context.run_config
  timeout = float(config["timeout"])
  with task.reported(config) as report:
    server = task.server_of(config)
    wait_for_nodes(grid, int(config["nodes"]), timeout)
    lead(grid, server.rounds(lambda: sorted(grid.get_node_ids())), timeout)
    report.update(task.finish(server, config))
