"""How Sphinx builds these pages: ``make docs``."""

import os
from pathlib import Path

import matplotlib

import skprune

os.environ.setdefault("OMP_NUM_THREADS", "1")
matplotlib.use("Agg")

project = "skprune"
author = "the skprune developers"
copyright = author
version = release = skprune.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "benchmarks/*"]
default_role = "literal"
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # docstrings say more
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": ("skprune",),
    "reference_url": {"skprune": None},
    "backreferences_dir": "generated/backreferences",
    "within_subsection_order": "NumberOfCodeLinesSortKey",
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
}

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = "skprune"
# Guide and examples are short, and their code needs the width; pages without a section have nothing to navigate.
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": {"api": ["page-toc"], "generated/*": ["page-toc"], "whats_new": ["page-toc"]},
}
html_sidebars = {name: [] for name in ("index", "install", "benchmarks", "whats_new", "coming_from_*")}
html_show_sourcelink = False


def add_tables(app, docname, source):
    """Append to the page of benchmarks the sections in the folder of that name, whose links start a folder deeper."""
    if docname == "benchmarks":
        sections = [file.read_text() for file in sorted(Path(app.srcdir, "benchmarks").glob("*.md"))]
        source[0] += "".join(f"\n{section.replace('](../', '](')}" for section in sections)


def setup(app):
    app.connect("source-read", add_tables)
