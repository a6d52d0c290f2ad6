"""The documentation site: `make docs` builds it into build/docs, with warnings as errors."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

project = "brex-accounting"
author = "the brex-accounting authors"
project_copyright = f"2026, {author}"
release = version_of("brex-accounting")
version = release

sys.path.insert(0, str(Path(__file__).parent))

extensions = [
    "cyclopts.ext.sphinx",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "_reference",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_class_signature = "separated"
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "member-order": "bysource",
    "exclude-members": "__new__",
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Single backticks in docstrings are code.
default_role = "code"

html_theme = "furo"
html_title = f"brex-accounting {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
