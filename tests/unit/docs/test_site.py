"""The pages of the documentation: all are in the site, and no link leads nowhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import site_pages
import yaml

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
ABOVE = [ROOT / name for name in site_pages.ABOVE]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def listed(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in listed(part)]


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head).strip().lower().replace(" ", "-") for head in heads}


def test_every_page_is_in_the_site_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    pages = [str(page.relative_to(DOCS)) for page in PAGES]
    assert sorted(listed(nav)) == sorted([*pages, *site_pages.ABOVE.values()])


@pytest.mark.parametrize("page", [*PAGES, *ABOVE], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        where = (page.parent / name).resolve() if name else page
        assert where.exists(), target
        if anchor:
            assert anchor in anchors(where), target


def test_links_between_the_pages_and_what_lies_above_them_are_put_right() -> None:
    top = "[a](docs/tutorial.md#x) [b](SECURITY.md) [c](LICENSE) [d](https://x.org/docs/y)"
    assert site_pages.at_top(top) == (
        "[a](tutorial.md#x) [b](SECURITY.md) c [d](https://x.org/docs/y)"
    )
    assert site_pages.below("[a](../README.md#use) [b](cell.md)", 0) == (
        "[a](index.md#use) [b](cell.md)"
    )
    assert site_pages.below("[a](../../README.md) [b](../cell.md)", 1) == (
        "[a](../index.md) [b](../cell.md)"
    )


@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra docs")
@pytest.mark.parametrize("broken", ["", "[x](nowhere.md)", "[x](cell.md#nowhere)"])
def test_the_site_is_made_unless_a_link_leads_nowhere(tmp_path: Path, broken: str) -> None:
    shutil.copytree(DOCS, tmp_path / "docs")
    for path in (*ABOVE, ROOT / "mkdocs.yml"):
        shutil.copy(path, tmp_path)
    with (tmp_path / "docs" / "tutorial.md").open("a") as page:
        page.write(f"\n{broken}\n")
    # As in the Makefile: with --quiet it would count no warning, and so be content with any link.
    command = re.search(r"\$\(BIN\)/mkdocs (.+)", (ROOT / "Makefile").read_text())[1].split()
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *command],
        cwd=tmp_path, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert (done.returncode == 0) == (not broken), done.stderr
    if not broken:
        assert "Bragg-peak positions" in (tmp_path / "site" / "index.html").read_text()
