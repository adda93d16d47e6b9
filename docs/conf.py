"""How the site is built: ``python -m sphinx -W --keep-going -b html docs build/site``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import gradxform

project = "gradxform"
author = "the authors of gradxform"
copyright = author  # noqa: A001 (Sphinx reads this name)
version = release = gradxform.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    # Beside this file:
    "docstrings",
    "linking",
]

# Pages are Markdown. Their headings can be linked to, as on a code host.
myst_heading_anchors = 4

# Docstrings are Google's style in reStructuredText; what stands in single backticks is code, linked where it is a name.
default_role = "literal"
autosummary_generate = False
autodoc_typehints = "signature"
autodoc_member_order = "alphabetical"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 110
toc_object_entries_show_parents = "hide"
add_module_names = False

# Blocks that name no language are text; examples at a prompt are known by it.
highlight_language = "none"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"gradxform {version}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["site.css"]

# Prompts and outputs are not copied, so that what is copied can be pasted.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
