"""The report: Table 1, the verdict, figures, and one self-contained HTML page."""
