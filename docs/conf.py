"""The documentation's site, `sphinx-build -W docs build/site`: pages of Markdown, a reference of docstrings."""

import itertools
import re
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import reference  # noqa: E402 - of this folder
from docutils import nodes  # noqa: E402
from numpy.typing import ArrayLike  # noqa: E402
from sphinx import addnodes  # noqa: E402

from qjax.algorithms import meanings  # noqa: E402

ARRAY = "jaxlib._jax.Array"
Named = type("ArrayLike", (), {"__module__": "builtins"})

project = "qjax"
author = copyright = "the qjax authors"
html_title = "qjax"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
exclude_patterns = ["**.ipynb"]
nitpicky = False

mermaid_height, mermaid_width = "auto", "min(100%, 24em)"
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["qjax.css"]
html_js_files = ["sort.js"]
html_show_sphinx = False
html_copy_source = False


def setup(app: Any) -> None:
    """Write the reference's pages before Sphinx looks for pages, and let it read docstrings as they are written."""
    reference.write(Path(app.srcdir) / "reference")
    app.connect("autodoc-process-docstring", as_rst, priority=100)
    app.connect("autodoc-before-process-signature", named)
    app.connect("autodoc-process-signature", without_fields)
    app.connect("autodoc-skip-member", with_call)
    app.connect("doctree-read", shorten)


def named(app: Any, obj: Any, bound_method: bool) -> None:
    """Call what NumPy makes an array of by its name; it is a union of a dozen types."""
    for name, kind in getattr(obj, "__annotations__", {}).items():
        if kind == ArrayLike:
            obj.__annotations__[name] = Named


def without_fields(app: Any, what: str, name: str, obj: Any, *_: Any) -> tuple[str, None] | None:
    """Show no signature of a record, nor of a callable type: fields and `__call__` stand below them."""
    return ("", None) if what == "class" and (hasattr(obj, "_fields") or is_callable_type(obj)) else None


def with_call(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Show the `__call__` of a callable type."""
    owner = getattr(sys.modules.get(obj.__module__), obj.__qualname__.split(".")[0]) if name == "__call__" else None
    return False if is_callable_type(owner) else None


def is_callable_type(obj: Any) -> bool:
    """Return whether it is a protocol, such as `qjax.Policy`."""
    return getattr(obj, "_is_protocol", False)


def shorten(app: Any, doctree: Any) -> None:
    """Call JAX's array what it is called by everyone."""
    for signature in doctree.findall(addnodes.desc_signature):
        for text in list(signature.findall(nodes.Text)):
            if ARRAY in text:
                text.parent.replace(text, nodes.Text(text.replace(ARRAY, "Array")))


def as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a docstring's Markdown into what Sphinx reads: `code` is written so, and nothing else is markup.

    What stands further to the right before the first section (`Args:`) is a formula, and is shown as it stands.
    """
    if what == "class" and is_dataclass(obj) and any(meanings(obj).values()):  # its fields stand below it
        del lines[lines.index("Attributes:") :]
    if lines and lines[0].startswith("Alias for field number"):  # a NamedTuple's field without a docstring
        lines.clear()
    if lines and what in ("attribute", "data", "property"):
        lines[0] = f": {lines[0]}"  # what stands before a first colon would be taken for a type
    sections = next((i for i, line in enumerate(lines) if re.fullmatch(r"[A-Z]\w+:", line)), len(lines))
    blocks = itertools.groupby(enumerate(lines), key=lambda at: at[0] < sections and at[1].startswith("    "))
    made: list[str] = []
    for is_formula, block in blocks:
        text = "\n".join(line for _, line in block)
        made += ["", "::", "", text, ""] if is_formula else [_escaped(text)]
    lines[:] = "\n".join(made).split("\n")


def _escaped(text: str) -> str:
    """Return prose with its code between double backquotes, and with nothing else that Sphinx takes for markup."""
    parts = re.split(r"(`[^`]+`)", text)
    parts[::2] = [re.sub(r"([*|_\\])", r"\\\1", prose) for prose in parts[::2]]
    parts[2::2] = [re.sub(r"^(?=\w)", r"\\ ", prose) for prose in parts[2::2]]  # several `Key`s
    parts[1::2] = [f"`{code}`" for code in parts[1::2]]
    return re.sub(r"(: [A-Z])\.$", r"\1\\.", "".join(parts), flags=re.MULTILINE)  # "states: S." begins no list
