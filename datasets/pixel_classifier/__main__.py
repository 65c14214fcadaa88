"""python -m datasets.pixel_classifier"""

from __future__ import annotations

import sys

from datasets.pixel_classifier.command import main

if __name__ == "__main__":
    sys.exit(main())
