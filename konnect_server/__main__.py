"""``python -m konnect_server``: the same as ``konnect``."""

from konnect_server.cli import main

main()
