"""Say in one line why the generator failed.

Run by regen.sh in the generator's environment: python -m scripts.complaint DESCRIPTION CONFIGURATION LOG

The log begins with the consequences of an error, and shows names as objects' addresses. So the description is parsed
once more, without writing code, for the first error that is not a consequence of another. The generator's parser is not
a public API: if this fails, the log still has something to say.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CONSEQUENCES = ("Could not find reference in parsed models or enums", "was not processed")
NOISE = re.compile(r"^(Generating|Warning\(s\)|Error\(s\)|Usage:|Try |If you believe|$)")
ADDRESS = re.compile(r"<\S+ object at 0x[0-9a-f]+>")


def from_log(text: str) -> str:
    """Take a crash's last line, or else the first lines that are not the same every time."""
    lines = [ADDRESS.sub("…", line.strip()) for line in text.splitlines()]
    if any(line.startswith("Traceback") for line in lines):
        last = next(line for line in reversed(lines) if line)
        return last.removeprefix("jinja2.exceptions.TemplateNotFound: ")  # a template refuses by including its reason
    return " ".join([line for line in lines if not NOISE.match(line)][:2])


def from_parser(description: Path, configuration: Path) -> str:
    """Parse the description and return the error that comes first, or an empty text."""
    from openapi_python_client import config, parser  # noqa: PLC0415 - any version of it may have moved these
    from openapi_python_client.schema.untrusted_string import UntrustedString  # noqa: PLC0415

    untrusted: Any = UntrustedString
    untrusted.__str__ = UntrustedString.get_untrusted_value  # for messages only: no code is written here
    settings = config.Config.from_sources(
        config.ConfigFile.load_from_path(configuration),
        config.MetaType.NONE,
        description,
        "utf-8",
        overwrite=False,
        output_path=None,
    )
    data = parser.GeneratorData.from_dict(json.loads(description.read_text("utf-8")), config=settings)
    if not isinstance(data, parser.GeneratorData):
        return _sentence(data)
    collections = data.endpoint_collections_by_tag.values()
    errors = [*data.errors, *(error for collection in collections for error in collection.parse_errors)]
    causes = [error for error in errors if not any(words in (error.detail or "") for words in CONSEQUENCES)]
    return next(map(_sentence, causes or errors), "")


def _sentence(error: Any) -> str:
    head = " ".join(error.header.split()).rstrip(": ")
    detail = (error.detail or "").strip().split("\n\n")[0].rpartition("your OpenAPI document: : ")[2]
    return " ".join(f"{head}: {detail}".replace("/components/schemas/", "").rstrip(": ").split())


def main(description: str, configuration: str, log: str) -> None:
    """Print the line."""
    try:
        print(from_parser(Path(description), Path(configuration)) or from_log(Path(log).read_text("utf-8")))
    except Exception:  # noqa: BLE001 - it crashes where it crashed before, and the log shows that
        print(from_log(Path(log).read_text("utf-8")))


if __name__ == "__main__":
    main(*sys.argv[1:])
