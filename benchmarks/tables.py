"""Make all tables in docs/benchmarks, or say which of them are stale: ``python -m benchmarks.tables``.

Each table names the command that printed it. That command is run again, with the options that it names. A table is stale
if the code that made it has changed since the table was committed. The README quotes one of these tables.
"""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r"`python -m (benchmarks\.(\w+)[^`]*)`")
# What all benchmarks are made with.
SHARED = ("skprune", "benchmarks/data.py", "benchmarks/nets.py", "benchmarks/report.py")
# Folders of this machine, which no table names, and how to tell whether a benchmark takes them.
FOLDERS = {"data": re.compile(r"add_data_option\(|\"--data\""), "model": re.compile('"--model"')}


def main():
    tables = {table.stem: table for table in sorted((ROOT / "docs" / "benchmarks").glob("*.md"))}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stale", action="store_true", help="say which tables are stale, and make none")
    parser.add_argument("--only", nargs="+", choices=tables, default=list(tables), metavar="NAME", help="of the tables")
    for name in FOLDERS:
        parser.add_argument(f"--{name}", metavar="DIR", help="handed on to the benchmarks that take it")
    args = parser.parse_args()
    for name in args.only:
        if args.stale:
            print(f"{name}: {staleness(ROOT, tables[name]) or 'up to date'}")
        else:
            command = command_of(tables[name].read_text(), vars(args))
            print(f"python -m {shlex.join(command)}", flush=True)
            subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)


def command_of(report, folders):
    """Return the arguments of ``python -m`` that make a report again."""
    command, name = COMMAND.search(report).groups()
    source = (ROOT / "benchmarks" / f"{name}.py").read_text()
    taken = [option for option, pattern in FOLDERS.items() if folders[option] and pattern.search(source)]
    return [*shlex.split(command), "--docs", "docs", *(part for name in taken for part in (f"--{name}", folders[name]))]


def staleness(root, table):
    """Return why a table may differ from what its code would print now, an empty string if there is no reason to think so."""
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise SystemExit("This clone lacks the history by which the age of a table is known: git fetch --unshallow.")
    sources = [f"benchmarks/{COMMAND.search(table.read_text())[2]}.py", *SHARED]
    if git(root, "status", "--porcelain", "--", table):
        return "the table is not committed"
    made = git(root, "log", "-1", "--format=%h", "--", table)
    newer = git(root, "log", "--format=%h", f"{made}..HEAD", "--", *sources).split()
    if newer:
        return f"committed at {made}, before {len(newer)} commits to its code, up to {newer[0]}"
    changed = git(root, "status", "--porcelain", "--", *sources)
    return f"committed at {made}, before changes to its code that are not committed" if changed else ""


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
