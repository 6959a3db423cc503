"""Observer: base of the callbacks that only watch a run."""

from lightning import Callback


class Observer(Callback):
    """A callback that changes neither weights nor metrics, so that the run record leaves it out."""

    def describe(self) -> None:
        """Return None: the run record is the same with and without this callback."""
