"""What MkDocs is told beside ``mkdocs.yml``: pages that lie above ``docs/`` belong to the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["ABOVE", "at_top", "below", "on_files", "on_page_markdown"]

ABOVE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
"""Files beside ``docs/``, and the names of their pages."""
_LINK = re.compile(r"(?<=\]\()([^)#\s]+)(?=[)#])")
_LICENSE = re.compile(r"\[([^]]+)\]\(LICENSE\)")


def at_top(markdown: str) -> str:
    """Return the text of a file that lies above ``docs/`` with links as its page has them."""

    def link(found: re.Match[str]) -> str:
        target = found[1].removeprefix("docs/")
        return ABOVE.get(target, target)

    return _LINK.sub(link, _LICENSE.sub(r"\1", markdown))


def below(markdown: str, depth: int) -> str:
    """Return the text of a page with links to files above ``docs/`` as links to their pages.

    Parameters
    ----------
    depth
        Folders between ``docs/`` and the page.
    """
    up = "../" * depth

    def link(found: re.Match[str]) -> str:
        target = found[1].removeprefix(f"{up}../")
        return found[1] if target == found[1] else up + ABOVE.get(target, target)

    return _LINK.sub(link, markdown)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the files above."""
    from mkdocs.structure.files import File

    root = Path(config.docs_dir).parent
    for name, page in ABOVE.items():
        text = at_top((root / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put links right."""
    is_above = page.file.src_uri in ABOVE.values()
    return markdown if is_above else below(markdown, page.file.src_uri.count("/"))
