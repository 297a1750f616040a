"""The server: one process, one port, one Trio loop."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("konnect")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0.1.0"
