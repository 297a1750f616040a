"""Rules about people: profiles, the feed, first messages, contacts, posts, blocks, leaving. A noun a file.

Each command is one row of its noun's ``RULES``: a coroutine function (ground, asked, command) that asks the database,
by one function of ``storage/``, and gives an :class:`~konnect_server.people.ground.Outcome`. ``rules.py`` puts the
nouns together; ``konnect_server/commands.py`` carries every one of them out alike, for the socket and for HTTP.
"""
