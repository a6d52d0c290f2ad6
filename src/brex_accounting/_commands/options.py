"""Options that several commands have."""

from typing import Annotated

from cyclopts import Parameter

from .exit_codes import Code, stop

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Texts = Annotated[tuple[str, ...], Parameter(negative="", show_default=False, consume_multiple=False)]


def check_port(port: int) -> None:
    if not 0 <= port < 2**16:
        stop("--port must be a number from 0 to 65535.", Code.USAGE)
