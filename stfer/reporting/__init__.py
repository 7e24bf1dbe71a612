"""Reading finished run folders and turning them into figures, tables and one page. Never sees a live model."""

__all__ = [
    "comparison_figures",
    "console",
    "figures",
    "from_folders",
    "page",
    "paper",
    "report",
    "runs",
    "summary",
    "tables",
    "voting_example",
]
