"""The Quart door: accounts, documents and the server's own pages over HTTP. No Quart type leaves this package."""

from konnect_server.http.door import HttpDoor, open_http_door
from konnect_server.http.options import DoorOptions

__all__ = ["DoorOptions", "HttpDoor", "open_http_door"]
