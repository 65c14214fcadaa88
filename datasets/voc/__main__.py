"""python -m datasets.voc"""

from __future__ import annotations

import sys

from datasets.voc.command import main

if __name__ == "__main__":
    sys.exit(main())
