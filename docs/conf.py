"""How Sphinx builds these pages: ``make docs``."""

import os
import re
import socket
import warnings
from pathlib import Path

import matplotlib
from sphinx_gallery.sorting import ExplicitOrder

import skprune

os.environ.setdefault("OMP_NUM_THREADS", "1")
matplotlib.use("Agg")
# Examples print warnings without the folder in which the pages are built.
warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}\n"

project = "skprune"
author = "the skprune developers"
copyright = author
version = release = skprune.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "benchmarks/*"]
default_role = "literal"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
myst_html_meta = {
    "description": "skprune leaves out training rows inside scikit-learn Pipelines: rows whose labels are probably wrong, "
    "and as many others as make training fast enough."
}
copybutton_prompt_text = ">>> |... |\\$ "
copybutton_prompt_is_regexp = True


def is_online():
    """Return whether the documentation of other libraries can be reached."""
    try:
        socket.create_connection(("scikit-learn.org", 443), timeout=3).close()
    except OSError:
        return False
    return True


# Names of other libraries link to their documentation. Without a connection, they are plain text.
intersphinx_mapping = {}
if is_online():
    intersphinx_mapping = {
        "sklearn": ("https://scikit-learn.org/stable", None),
        "skorch": ("https://skorch.readthedocs.io/en/stable", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
    }

autosummary_generate = True
autodoc_typehints = "none"  # docstrings say more
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": ("skprune",),
    "reference_url": {"skprune": None},
    "backreferences_dir": "generated/backreferences",
    # Examples that gain most come first, and those that are not run at the build come last.
    "within_subsection_order": ExplicitOrder(
        [
            "plot_mislabelled_rows.py",
            "plot_pruning_curve.py",
            "plot_grid_search.py",
            "plot_most_and_least_forgotten.py",
            "plot_convolutional_net.py",
            "adult_boosting.py",
            "mnist_svc.py",
            "imdb_transformer.py",
        ]
    ),
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = "skprune"
html_favicon = "_static/logo.svg"
ALONE = ("index", "install", "faq", "benchmarks", "alternatives", "coming_from_*", "citing", "whats_new", "releases")
html_sidebars = {name: [] for name in ALONE}
# The start page and the examples have few sections, and need the width.
WITH_CONTENTS = (*ALONE[1:], "api", "generated/*", "user_guide/*")
html_theme_options = {
    "logo": {"text": f"skprune {version}", "image_light": "_static/logo.svg", "image_dark": "_static/logo.svg"},
    "show_prev_next": True,
    # The list of the newest version serves all versions. Read the Docs says which of them is built.
    "switcher": {
        "json_url": "https://skprune.readthedocs.io/en/latest/_static/switcher.json",
        "version_match": os.environ.get("READTHEDOCS_VERSION", "latest"),
    },
    "check_switcher": False,  # builds work without a connection
    "navbar_end": ["version-switcher", "theme-switcher", "navbar-icon-links"],
    "icon_links": [{"name": "GitHub", "url": "https://github.com/skprune/skprune", "icon": "fa-brands fa-github"}],
    "secondary_sidebar_items": {name: ["page-toc"] for name in WITH_CONTENTS},
}
html_show_sourcelink = False
# Tables with more lines than this are folded.
MAX_LINES = 20


def add_tables(app, docname, source):
    """Append the sections in the folder benchmarks to the page of that name. Their links start a folder deeper."""
    if docname == "benchmarks":
        sections = [file.read_text() for file in sorted(Path(app.srcdir, "benchmarks").glob("*.md"))]
        tables = "".join(f"\n{section.replace('](../', '](')}" for section in sections)
        source[0] += re.sub(rf"(?:^\|.*\n){{{MAX_LINES},}}", fold, tables, flags=re.MULTILINE)


def fold(table):
    n_rows = table[0].count("\n") - 2
    return f":::{{dropdown}} Table with {n_rows} rows\n\n{table[0]}\n:::\n"


def setup(app):
    app.connect("source-read", add_tables)
