"""What can go wrong beneath: no answer, a refusal, a conflict; driver errors end here.

::

    StorageError
    ├── StorageUnavailable   no (usable) answer; the outcome is unknown, a retry with the same keys is safe
    ├── StorageRefused       the data can never be stored; a retry is pointless
    ├── StorageConflict      a constraint said no; ``constraint`` names it
    ├── StorageUnfit         this database cannot carry Konnect: too old, not durable, newer schema, edited migration
    └── BlobsUnavailable     the store of media gave no answer, or has no room; a retry is safe

A bug of ours (wrong SQL, wrong types) is none of these: psycopg's own error goes on to the nursery.
"""


class StorageError(Exception):
    """Anything of this file."""


class StorageUnavailable(StorageError):
    """No answer from the database; whether it did the work is unknown, and a retry with the same keys is safe."""


class StorageRefused(StorageError):
    """A data error, such as a NUL in a text: the same statement with the same data will never succeed."""


class StorageConflict(StorageError):
    """A constraint said no. ``constraint`` is its name as the migration gave it, empty when PostgreSQL names none."""

    def __init__(self, message: str, constraint: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class StorageUnfit(StorageError):
    """The database answers but cannot carry Konnect; the text is one plain sentence for the operator."""


class BlobsUnavailable(StorageError):
    """The store of media gave no answer, or has no room; the outcome is unknown, and a retry is safe."""
