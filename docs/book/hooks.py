"""The site's hook for MkDocs: pages that are made from code or lie at the root, and links that leave docs/."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from mkdocs.structure.files import File, Files  # noqa: E402

from book.pages import made_pages, notebooks  # noqa: E402

LISTED = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]*)(#[^)\s]*)?\)")
SHIM = re.compile(r'src="https?://[^"]*iframe-worker/shim"')
SOURCES = r'<a href="(?:\.\./\.\./[^"]*|[\w./-]*\.py)">(.*?)</a>'
PAGES_OF_THEIR_OWN = (
    ("models", "networks.html", "Networks"),
    ("ports", "porting.html", "Porting"),
    ("ported", "porting.html", "Porting"),
)
"""Folders of such pages, and the page of the site that their list belongs to."""
IMAGE = re.compile(r'(?<!">)(<img alt="[^"]*" src="((?!data:|https?:)[^"]+\.(?:png|svg))"[^>]*>)')
LISTING = re.compile(r'<div class="language-text highlight">(<pre>.*?</pre>)', re.DOTALL)
FLAG = re.compile(r"<code>(-{1,2}[\w-]{1,24})</code>")
AT_ROOT = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}


def on_config(config: Any) -> Any:
    """Put the handbook's, the notebooks' and the API's pages into the navigation."""
    pages = made_pages(ROOT)
    for entry in config["nav"]:
        if "Handbook" in entry:
            entry["Handbook"] += [{"Causes": [name for name in pages if name.startswith("handbook/cause")]}]
        if "Notebooks" in entry:
            entry["Notebooks"] += list(notebooks(ROOT))
        if "API" in entry:
            entry["API"] += [name for name in pages if name.startswith("api/") and name != "api/index.md"]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file under docs/ holds."""
    for name, text in made_pages(ROOT).items():
        files.append(File.generated(config, name, content=text))
    for page in notebooks(ROOT).values():
        for name, content in page.files.items():
            files.append(File.generated(config, name, content=content))
    for source, name in AT_ROOT.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=inside(text, ROOT)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links of a document under docs/ that leave it."""
    source = page.file.abs_src_path
    if page.file.src_uri == "notebooks.md":
        markdown = LISTED.sub(r"| [`\1`](notebooks/\1.md) |", markdown)
    return markdown if source is None else inside(markdown, Path(source).parent)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """What a screen reader and a keyboard need, and the worker that searches where a page is opened as a file."""
    dialog = 'data-md-component="search" role="dialog"'
    output = output.replace(dialog, f'{dialog} aria-label="Search"')
    output = re.sub(r"(<pre[^>]*>(?:<span></span>)?<code)(?=>)", r'\1 tabindex="0"', output)
    output = LISTING.sub(_listing, output)
    output = IMAGE.sub(
        r'<a class="larger" href="\2">\1</a>', output
    )  # on a phone a picture is too small to read
    output = FLAG.sub(r'<code class="flag">\1</code>', output)  # a line must not end behind its first hyphen
    return SHIM.sub(f'src="{"../" * page.url.count("/")}book/iframe-worker.js"', output)


def _listing(match: re.Match[str]) -> str:
    """Lines that stand in columns keep together, and a keyboard can move them; others wrap."""
    columns = sum(re.search(r"\S {3,}\S", line) is not None for line in match[1].splitlines())
    if columns < 3:
        return match[0]
    return match[0].replace('highlight"', 'highlight columns"', 1).replace("<pre>", '<pre tabindex="0">', 1)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """The same for the page that says that there is none."""
    return SHIM.sub('src="book/iframe-worker.js"', output_content)


def on_post_build(config: Any) -> None:
    """Pages that are HTML files of their own link to sources, which the site does not hold; and their lists to nothing."""
    for folder, up, title in PAGES_OF_THEIR_OWN:
        for path in Path(config["site_dir"], folder).glob("*.html"):
            text = path.read_text(encoding="utf-8")
            text = re.sub(SOURCES, r"\1", text, flags=re.DOTALL)
            text = text.replace(
                '<a href="index.html">All networks', '<a href="../networks.html">All networks'
            )
            if path.name == "index.html":
                text = text.replace("<body>", f'<body><p class="up"><a href="../{up}">{title}</a></p>', 1)
            path.write_text(text, encoding="utf-8")


def inside(text: str, folder: Path) -> str:
    """The text with links that stay within the site: to documents at the root, and none to sources."""

    def changed(match: re.Match[str]) -> str:
        image, words, link, anchor = match.groups()
        if not link:
            return match[0]
        target = (folder / link).resolve()
        if target.parent == ROOT and target.name in AT_ROOT:
            up = "" if folder in (ROOT, ROOT / "docs") else "../"
            return f"[{words}]({up}{AT_ROOT[target.name]}{anchor or ''})"
        if ROOT / "docs" in target.parents and target.suffix != ".py":
            if folder == ROOT:
                return f"{image}[{words}]({target.relative_to(ROOT / 'docs')}{anchor or ''})"
            return match[0]
        return words

    return LINK.sub(changed, text)
