"""What pyproject.toml cannot say: the addresses of the repository that the distribution is built from.

`make wheel` gives the address of the remote `origin` in PROJECT_HOME. Without it, and for a folder of this machine, the
distribution names no address.
"""

from __future__ import annotations

import os
import re

from setuptools import setup

REMOTE = re.compile(
    r"(?:(?:https|ssh)://(?:[^@/]+@)?(?P<host>[\w.-]+\.[a-z]+)(?::\d+)?/|[^@/:]+@(?P<named>[\w.-]+\.[a-z]+):)"
    r"(?P<path>.+?)(?:\.git)?/?"
)
"""How git writes the address of a repository on a host, by https or ssh."""


def addresses(remote: str) -> dict[str, str]:
    """Project URLs of a repository, from its remote's address; none for a folder."""
    found = REMOTE.fullmatch(remote.strip())
    if found is None:
        return {}
    home = f"https://{found['host'] or found['named']}/{found['path']}"
    return {
        "Source": home,
        "Documentation": f"{home}/blob/main/README.md",
        "Changelog": f"{home}/blob/main/CHANGELOG.md",
        "Issues": f"{home}/issues",
    }


setup(project_urls=addresses(os.environ.get("PROJECT_HOME", "")))
