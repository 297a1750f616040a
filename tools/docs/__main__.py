"""``python -m tools.docs``: write the documents that are made from the protocol; ``--check`` only says which differ."""

import sys

from tools.docs.documents import DOCUMENTS, ROOT, stale


def main(arguments: list[str]) -> int:
    """Write or check; 0 when all is as it should be."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.docs [--check]", file=sys.stderr)
        return 2
    differing = stale()
    for path in differing:
        if not arguments:
            (ROOT / path).parent.mkdir(exist_ok=True)
            (ROOT / path).write_text(DOCUMENTS[path](), "utf-8")
        print(f"{path} {'differs from the protocol' if arguments else 'written'}")
    if not differing:
        print(f"{len(DOCUMENTS)} documents are up to date")
    elif arguments:
        print("run python -m tools.docs and commit what it writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
