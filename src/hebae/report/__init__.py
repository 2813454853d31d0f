"""The report: its pages, the texts of its captions, its file name."""
