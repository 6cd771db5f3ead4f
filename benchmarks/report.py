"""Reports of the benchmarks: Markdown, printed and, if wished, written into the documentation."""

from pathlib import Path


def add_docs_option(parser):
    """Let the user of a benchmark name the folder of the documentation."""
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", help="write the report into this folder's benchmarks as well"
    )


def table(head, lines):
    """Return the lines of a Markdown table."""
    return [f"| {' | '.join(map(str, line))} |" for line in (head, ["---"] * len(head), *lines)]


def publish(lines, docs, name):
    """Print a report and write it into a folder of documentation, if one is given."""
    report = "\n".join(lines)
    print(report)
    if docs:
        (docs / "benchmarks").mkdir(parents=True, exist_ok=True)
        (docs / "benchmarks" / f"{name}.md").write_text(f"{report}\n")
