"""docs/configuration.md: every setting, as a table per heading, out of konnect_server/config.py."""

import msgspec

from konnect_server.config import Key, example_toml, groups

_HEAD = """<!-- Made by `python -m tools.docs` from konnect_server/config.py; edit that. -->
# Configuration

Every setting has one name everywhere: `port` in a TOML file, `KONNECT_PORT` in the environment, `--port` as a flag.
Flags win over the environment, the environment over the file, the file over the defaults. There is no file unless
`--config FILE` or `KONNECT_CONFIG` names one. Empty variables count as not set.

```
konnect check-config                          # every setting, its value, and where that came from
konnect check-config --example > konnect.toml # a file to start from
konnect serve --config konnect.toml --port 80
```

What is unknown is refused with the nearest known name, and what is wrong with one sentence that names the key and its
source; the exit code is 2 then:

```
konnect: konnect.toml has the unknown key prot: did you mean port?
konnect: KONNECT_PORT is "x", but must be a whole number from 0 to 65535
```

Lists are arrays in TOML, and have commas elsewhere. Secrets may come from files: `database_url_file` names one. Besides
the settings, `KONNECT_URL` and `KONNECT_PASSWORD` are read by `konnect chat`; any other `KONNECT_*` is refused.
"""

_TAIL = """
## A file with everything

Each line is the default.

```toml
{example}```
"""


def configuration_md() -> str:
    """The whole document."""
    parts = [_HEAD]
    for heading, group in groups():
        parts.append(f"\n## {heading}\n\n| Setting | Meaning | Must be | Default |\n|---|---|---|---|\n")
        parts += [_row(key) for key in group]
    parts.append(_TAIL.format(example=example_toml()))
    return "".join(parts)


def _row(key: Key) -> str:
    default = f"`{msgspec.json.encode(key.default).decode()}`" if key.default not in ("", ()) else "(empty)"
    return f"| `{key.name}`<br>`{key.variable}` | {key.meaning} | {key.wanted} | {default} |\n"
