"""Records a torch model: how its constructors made it, and what its forward passes did."""

from parity.adapters.torch.recording.passes import record

__all__ = ["record"]
