"""``python -m brex_accounting`` is the brex-accounting command."""

from ._commands.app import main

if __name__ == "__main__":
    main()
