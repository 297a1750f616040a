"""Push: who is told, by their phones, of what was said while they were away.

After a fan-out a conversation is noted, in memory; a moment later one question to the database makes jobs of what is
owed (``gatherer``); a job reads what is to be told now (``sender``, ``words``) and gives it to a driver (``driver``).
"""
