"""python -m datasets.tiles"""

from __future__ import annotations

import sys

from datasets.tiles.command import main

if __name__ == "__main__":
    sys.exit(main())
