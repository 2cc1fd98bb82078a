"""How Sphinx builds the documentation."""

import sys
from pathlib import Path

from unmask import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "unmask"
author = "The unmask maintainers"
copyright = "The unmask maintainers, Apache-2.0"
release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "settings_table"]
exclude_patterns = ["_build"]
highlight_language = "none"
html_theme = "furo"
html_title = f"unmask {release}"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
default_role = "code"
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
