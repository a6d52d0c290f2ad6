"""Outages: for some seconds connections are refused, or a gateway answers everything."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal, get_args

OutageKind = Literal["refuse", "status"]
_MAX_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage: `refuse` refuses connections and closes open ones, `status` answers with `status`."""

    kind: OutageKind
    status: int
    seconds: float
    ends_at: float


class OutageSwitch:
    """Begins outages and informs the servers, since only they can refuse connections."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._outage: Outage | None = None
        self._listeners: list[Callable[[Outage], object]] = []

    @property
    def refuses_for(self) -> float:
        """For how many more seconds connections are refused; 0 if they are not."""
        outage = self.current
        return outage.ends_at - self._clock() if outage is not None and outage.kind == "refuse" else 0.0

    @property
    def current(self) -> Outage | None:
        """The current outage, if any."""
        outage = self._outage
        return None if outage is None or self._clock() >= outage.ends_at else outage

    def begin(self, seconds: float, kind: OutageKind = "refuse", status: int = 503) -> None:
        """Begin an outage, which replaces the current one; ValueError when an argument is invalid."""
        if type(seconds) not in {int, float} or not 0 < seconds <= _MAX_SECONDS:
            raise ValueError(f"seconds must be a number above 0, at most {_MAX_SECONDS:.0f}")
        if kind not in get_args(OutageKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(OutageKind))}")
        if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004  # errors
            raise ValueError("status must be a number from 400 to 599")
        self._outage = Outage(kind, status, seconds, self._clock() + seconds)
        for listener in self._listeners:
            listener(self._outage)

    @contextmanager
    def informs(self, listener: Callable[[Outage], object]) -> Iterator[None]:
        """Call the listener with each outage that begins while the context lasts."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
