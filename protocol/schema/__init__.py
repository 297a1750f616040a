"""The protocol as documents: AsyncAPI for the socket, OpenAPI for HTTP, tables for pages that people read.

All of it is made from the Structs of ``protocol/``, so that what is documented is what is decoded. Nothing that runs
for a frame imports this package.
"""

from protocol.schema.asyncapi import asyncapi
from protocol.schema.openapi import openapi
from protocol.schema.tables import CloseRow, ErrorRow, FieldRow, FrameTable, LimitRow, Tables, tables

__all__ = ["CloseRow", "ErrorRow", "FieldRow", "FrameTable", "LimitRow", "Tables", "asyncapi", "openapi", "tables"]
