"""The page's section that says what to cite: this project and the paper whose experiment it carries out."""

from __future__ import annotations

from importlib import metadata

from lib.report.blocks import Note, Quoted, Section

DISTRIBUTION = "affine-features"
PAPER = """\
@article{mcneelywhite2020inception,
  title   = {Inception and ResNet features are (almost) equivalent},
  author  = {McNeely-White, David and Beveridge, J. Ross and Draper, Bruce A.},
  journal = {Cognitive Systems Research},
  volume  = {59},
  pages   = {312--318},
  year    = {2020},
  doi     = {10.1016/j.cogsys.2019.10.004}
}"""


def citations_section() -> Section:
    """Return what to cite, in words and as BibTeX."""
    text = (
        "The question and the affine map are those of D. McNeely-White, J. R. Beveridge and B. A. Draper, “Inception "
        "and ResNet features are (almost) equivalent”, Cognitive Systems Research 59, 312-318 (2020), "
        "doi.org/10.1016/j.cogsys.2019.10.004: please cite it. This page was made by the software below; sources of "
        "single measures are named where lib/evaluation/README.md explains them."
    )
    bibtex = f"{PAPER}\n\n{software()}"
    return Section("cite", "How to cite", [Note(text), Quoted(bibtex, "BibTeX of the paper and of this project")])


def software() -> str:
    """Return this project as BibTeX, with its version if it is installed and not only unpacked, as in a Ray job."""
    try:
        version = [f"  version = {{{metadata.version(DISTRIBUTION)}}},"]
    except metadata.PackageNotFoundError:
        version = []
    return "\n".join(
        [
            "@software{affinefeatures,",
            "  title   = {affine-features: How far can one image network stand in for another?},",
            *version,
            "  license = {Apache-2.0}",
            "}",
        ]
    )
