"""Check that every relative link in the documents points at a file of the repository.

usage: python deploy/setup/docs_links.py FILE_OR_FOLDER…      exit 1 names each broken link
"""

import re
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors that a document's headings make."""
    headings = re.findall(r"^#+\s+(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(document: Path) -> list[str]:
    """Return one line for each link that leads nowhere."""
    faults = []
    for target in LINK.findall(FENCE.sub("", document.read_text())):
        if "://" in target or target.startswith("mailto:"):
            continue
        path_text, _, anchor = target.partition("#")
        path = (document.parent / path_text) if path_text else document
        if not path.exists():
            faults.append(f"{document}: {target} does not exist")
        elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
            faults.append(f"{document}: {target} names no heading of {path.name}")
    return faults


def main(arguments: list[str]) -> int:
    """Print the faults; return the exit code."""
    documents = [
        document
        for argument in arguments
        for document in ([Path(argument)] if Path(argument).is_file() else sorted(Path(argument).rglob("*.md")))
    ]
    faults = [fault for document in documents for fault in broken_links(document)]
    print("\n".join(faults) or f"{len(documents)} documents, every link leads somewhere")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
