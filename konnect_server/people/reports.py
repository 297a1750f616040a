"""Reporting, and what moderators do."""

from typing import Final

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol.frames import Done, Report, ReportClose, Reported, ReportList
from storage import reports


async def report(ground: Ground, asked: Asked, command: Report) -> Outcome:
    """Report something."""
    return Outcome(Reported(await reports.make_report(ground.database, asked.new_id, asked.user, command)))


async def list_reports(ground: Ground, asked: Asked, command: ReportList) -> Outcome:
    """A page of the reports, for moderators."""
    return Outcome(await reports.list_reports(ground.database, asked.user, command))


async def close_report(ground: Ground, asked: Asked, command: ReportClose) -> Outcome:
    """Close one."""
    await reports.close_report(ground.database, asked.user, command, UNUSED_MS)
    return Outcome(Done())


UNUSED_MS: Final = 86_400_000  # a medium that only a report named is kept for so long

RULES: Final[Rules] = {Report: report, ReportList: list_reports, ReportClose: close_report}
