"""What the axes of a weight mean in the layer that owns it."""

from dataclasses import dataclass

from kreg.regularizers._grouping import Grouping


@dataclass(frozen=True)
class Layout:
    """How a weight falls into units and into inputs.

    Args:
        owner: the class of the layer that owns the weight, for messages.
        units: the incoming weights of each output channel; None if unknown.
        inputs: the outgoing weights of each input channel; None if unknown.
    """

    owner: str
    units: Grouping | None = None
    inputs: Grouping | None = None
