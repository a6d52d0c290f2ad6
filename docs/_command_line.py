"""The command line, for the directive that documents it."""

from brex_accounting._commands.app import _app

app = _app()
