"""The table of public pairs."""

from __future__ import annotations

from tests.public import convnets, language, vision
from tests.public.pair import PublicPair

PAIRS: dict[str, PublicPair] = {**language.PAIRS, **vision.PAIRS, **convnets.PAIRS}
