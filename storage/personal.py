"""Rows of one's own, and how to add a kind of them.

Table ``personal`` (migrations/0006_personal.sql) holds what concerns one person alone: a row for each person, kind
(``what``) and subject, with a value, or null once it is gone. A change raises the person's number, which the row keeps;
that is what ``hello``'s cursor and the sweep go by, so a row that is set is told to all of the person's devices,
whatever breaks in between, by the event ``state``. Nothing between the table and the event knows one kind from another.

To add a kind:

1. ``protocol/frames/states.py``: its name in ``StateKind``, a Struct for its value, a field of that very name in
   ``StateEvent``, and what its subject is. Values are absolute (never "one more"), bounded, and hold no nulls.
2. Its value in ``RECORDS`` of ``protocol/schema/catalogue.py`` and ``examples.py``; the docs are made from these.
3. A function of the database, in a new migration, that calls ``set_personal(person, what, subject, value)`` for each
   row, within the transaction of what caused it: after the locks of conversations; of several people in id order. Of a
   command of the person's own, ``begin_personal`` comes first and ``end_personal`` last: these keep its key.
4. Whoever called that function tells ``Registry.changed(person)`` once it is committed.
5. Its twin in ``tests/simulate/personal.py``, its fold in ``konnect_client/personal.py``, its row in docs/features.md.
"""
