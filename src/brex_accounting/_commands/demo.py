"""demo: the tour."""


def demo() -> int:
    """Take a tour with real calls over real sockets, against the sandbox; never a real account."""
    from brex_accounting._commands.tour import main  # noqa: PLC0415 - needs rich and the sandbox

    return main()
