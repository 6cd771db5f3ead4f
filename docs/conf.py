"""How Sphinx builds these pages: ``make docs``."""

import os

import matplotlib
from sphinx_gallery.sorting import FileNameSortKey

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
exclude_patterns = ["_build"]
# Pages of other authors, such as tables of measurements, are taken in where they are.
suppress_warnings = ["toc.empty_glob"]
myst_heading_anchors = 3

autosummary_generate = True
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "doc_module": ("skprune",),
    "reference_url": {"skprune": None},
    "backreferences_dir": "generated/backreferences",
    "within_subsection_order": FileNameSortKey,
    "abort_on_example_error": True,
    "show_memory": False,
    "download_all_examples": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skprune"
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_show_sourcelink = False
