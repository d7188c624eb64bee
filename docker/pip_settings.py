"""Hand what this machine's pip is told (an index, a certificate, wheels on disk) to a build.

    pip config list | pip_settings.py PREFIX CONF VOLUMES

Writes CONF, a pip.conf in which each file and folder of this machine lies under PREFIX, and
VOLUMES, a line ``/path:PREFIX/path:ro`` for each of them.
"""

import ast
import re
import sys
from pathlib import Path

_PATH = re.compile(r"(?<![^\s=])(file://)?(/[^\s]+)")


def main(prefix: str, conf: str, volumes: str) -> None:
    """Write both files; what the environment says comes last and wins."""
    settings: dict[str, str] = {}
    lines = [line.strip() for line in sys.stdin if "=" in line]
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = " ".join(str(ast.literal_eval(value)).split())
    paths: set[str] = set()

    def below(match: re.Match[str]) -> str:
        if not Path(match[2]).exists():
            return match[0]
        # An index on disk links to files that lie beside it.
        paths.add(str(Path(match[2]).parent) if match[1] else match[2])
        return f"{match[1] or ''}{prefix}{match[2]}"

    text = "".join(f"{name} = {_PATH.sub(below, value)}\n" for name, value in settings.items())
    Path(conf).write_text(f"[global]\n{text}")
    Path(volumes).write_text("".join(f"{path}:{prefix}{path}:ro\n" for path in sorted(paths)))


if __name__ == "__main__":
    main(*sys.argv[1:])
