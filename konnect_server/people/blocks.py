"""Blocking people."""

from typing import Final

from konnect_server.people.ground import Asked, Ground, Outcome, Rules
from protocol.frames import Block, BlockList, Done, Unblock
from storage import blocks


async def change_block(ground: Ground, asked: Asked, command: Block | Unblock) -> Outcome:
    """Block somebody, or take it back. Both people's devices look again whom they are shown."""
    found = await blocks.change_block(ground.database, asked.user, command)
    return Outcome(
        Done(), number=found.number,
        changed=(asked.user, command.user) if found.new else (),
        stored=() if found.conversation is None else ((found.conversation, found.seq),),
    )  # fmt: skip


async def list_blocks(ground: Ground, asked: Asked, command: BlockList) -> Outcome:
    """Whom one has blocked."""
    return Outcome(await blocks.list_blocks(ground.database, asked.user, command))


RULES: Final[Rules] = {Block: change_block, Unblock: change_block, BlockList: list_blocks}
