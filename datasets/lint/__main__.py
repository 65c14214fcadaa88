"""python -m datasets.lint"""

from __future__ import annotations

import sys

from datasets.lint.command import main

if __name__ == "__main__":
    sys.exit(main())
