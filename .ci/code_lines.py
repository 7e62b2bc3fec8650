"""Count the lines of code proper: without blank lines, comments and docstrings.

`python .ci/code_lines.py [FOLDER …]` prints a total for each folder (mechgrok, analyses and cli
unless folders are named) and for all of them; `--files` adds each file, the longest last.
"""

import ast
import io
import sys
import tokenize
from pathlib import Path

LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """The number of lines with a token that is neither layout nor part of a docstring."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {
        line
        for token in tokens
        if token.type not in LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - docstrings)


def count(folder: Path) -> dict[Path, int]:
    """The count of every module under `folder`; links to other folders are not followed."""
    return {path: code_lines(path.read_text("utf-8")) for path in folder.rglob("*.py")}


def main(arguments: list[str]) -> None:
    folders = [Path(name) for name in arguments if name != "--files"] or [
        Path(name) for name in ("mechgrok", "analyses", "cli")
    ]
    total = 0
    for folder in folders:
        counts = count(folder)
        if "--files" in arguments:
            for path, lines in sorted(counts.items(), key=lambda item: item[1]):
                print(f"{lines:6} {path}")
        print(f"{sum(counts.values()):6} {folder}")
        total += sum(counts.values())
    print(f"{total:6} altogether")


if __name__ == "__main__":
    main(sys.argv[1:])
