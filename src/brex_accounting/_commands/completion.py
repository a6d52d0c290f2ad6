"""completion: what the shell needs to complete commands and options."""

from typing import Literal


def completion(shell: Literal["bash", "fish", "zsh"]) -> int:
    """Print a script that completes commands and options: ``eval "$(brex-accounting completion bash)"``.

    Args:
        shell: Which shell it is for.
    """
    from .app import _app  # noqa: PLC0415 - it imports this module

    print(_app().generate_completion(shell=shell))  # noqa: T201 - the command's output
    return 0
