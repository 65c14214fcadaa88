"""On what grounds two layers were paired."""

from __future__ import annotations

from enum import Enum


class Evidence(Enum):
    """The grounds, from the caller's word to the weakest; the value is its text."""

    MAPPING = "the mapping"
    PATH = "the same path"
    DATAFLOW = "the dataflow"
    DATAFLOW_EITHER = "the dataflow, where either would do"
    DATAFLOW_AND_NAMES = "the dataflow, and its weights or its name where that leaves several"
    DATAFLOW_RUN = "the dataflow, and a run of both sides where that leaves several"
    ONLY_ONE = "the only one of its kind"
    NEIGHBOURS = "its neighbours"
    NEIGHBOURS_AND_NAMES = "its neighbours and its name"
    NEIGHBOURS_EITHER = "its neighbours, where either would do"
    ORDER = "the order in the dataflow"
    NAMES = "its name, where the dataflow leaves several"
    NAMES_CONFIRMED = "its name, which a run of both sides confirms"
    RENAMED = "its name, renamed as the other pairs are"
    SHAPE = "kind and shapes, which occur once"
    WRITTEN = "a cell that torch code writes out, which a run of both sides confirms"

    @property
    def of_names(self) -> bool:
        """Whether names settle it, so that no model has to be run."""
        return self in {Evidence.MAPPING, Evidence.PATH}

    @property
    def of_chance(self) -> bool:
        """Whether another choice would have done as well, so that nothing follows from the two names."""
        return self in {Evidence.DATAFLOW_EITHER, Evidence.NEIGHBOURS_EITHER}

    @property
    def of_neighbours(self) -> bool:
        """Whether the two dataflows are not the same, and what lies next to the layer decided."""
        return self in {Evidence.NEIGHBOURS, Evidence.NEIGHBOURS_AND_NAMES, Evidence.NEIGHBOURS_EITHER}
