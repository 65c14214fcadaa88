"""The pages' HTML: one file each, with nothing to load."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model_pages.drawing import draw
from model_pages.texts import Text, choices, inline, markdown
from model_pages.twins import table
from parity.catalog import Entry

STYLE = Path(__file__).with_name("page.css")
GENERATIONS = {
    "1": "Generation 1: fully convolutional",
    "2": "Generation 2: encoder and decoder",
    "3": "Generation 3: atrous convolution",
    "4": "Generation 4: atrous convolution and a decoder",
    "5": "Generation 5: attention",
    "block": "Blocks",
    "backbone": "Backbones",
}


PALETTE = """<script>
try { // the site's switch counts here too
  const kept = JSON.parse(localStorage.getItem(`${new URL("..", location).pathname}.__palette`));
  if (kept) document.documentElement.dataset.scheme = kept.color.scheme === "slate" ? "dark" : "light";
} catch { /* nothing is kept */ }
</script>"""


def shell(title: str, body: str) -> str:
    """A whole document."""
    return "\n".join([
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        "<style>",
        STYLE.read_text(encoding="utf-8").rstrip(),
        "</style>",
        PALETTE,
        "</head>",
        "<body>",
        "<main>",
        body,
        "</main>",
        "</body>",
        "</html>",
        "",
    ])  # fmt: skip


def model_page(
    text: Text, entries: Mapping[str, Entry], measured: Mapping[str, Any], sources: Mapping[str, str]
) -> str:
    """The page of one network.

    Args:
        text: what it says.
        entries: the catalogue.
        measured: parameters and parity's figures by name, where they were measured.
        sources: content of "tf_impl/munet.py" and so on.
    """
    body = [
        '<p class="up"><a href="index.html">All networks</a></p>',
        f"<h1>{html.escape(text.title)}</h1>",
        "<h2>The idea</h2>",
        markdown(text.sections["Idea"]),
        '<div class="drawing" tabindex="0" role="region" aria-label="Drawing">\n'
        f"{draw(text.sections['Drawing'], text.title)}\n</div>",
    ]
    if text.choices:
        body += [
            "<h2>What we chose</h2>",
            "<p>The lecture names the parts. Where it leaves something open we chose as follows; the authors may have "
            f"chosen differently (<a href=\"../../tf_impl/{text.choices}\"><code>{text.choices}</code></a>, "
            "the same file in both packages):</p>",
            choices(sources[f"tf_impl/{text.choices}"]),
        ]  # fmt: skip
    body += ["<h2>In the catalogue</h2>", catalogue([entries[name] for name in text.entries], measured)]
    body += ["<h2>What differs between the frameworks, and how it was pinned</h2>"]
    body += [markdown(text.sections["Differences"]), "<h2>The two sources</h2>"]
    body += [
        "<p>The two sources stand side by side, class by class and method by method. Coloured lines are only on one "
        "side.</p>"
    ]
    for name, chosen in text.files:
        code = [sources[f"{half}/{name}"] for half in ("tf_impl", "torch_impl")]
        links = " and ".join(
            f'<a href="../../{half}/{name}"><code>{half}/{name}</code></a>'
            for half in ("tf_impl", "torch_impl")
        )
        part = f" ({', '.join(chosen)})" if chosen else ""
        body += [f"<h3>{links}{part}</h3>", '<div class="code">', table(name, *code, chosen), "</div>"]
    return shell(text.title, "\n".join(body))


def catalogue(entries: Sequence[Entry], measured: Mapping[str, Any]) -> str:
    """The table of catalogue entries; columns that nothing was measured for are left out."""
    counts, figures = measured.get("parameters", {}), measured.get("parity", {})
    heads = ["name", "constructor", "parameters", "generation", "source", "parity"]
    if not counts:
        heads.remove("parameters")
    if not figures:
        heads.remove("parity")
    lines = [
        '<div class="wide">',
        '<table class="catalogue">',
        f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>",
    ]
    for entry in entries:
        cells = {
            "name": f"<b>{html.escape(entry.name)}</b>",
            "constructor": f"<code>{html.escape(entry.torch.partition(':')[2])}</code>",
            "parameters": f"{counts[entry.name]:,}" if entry.name in counts else "not counted",
            "generation": html.escape(entry.generation),
            "source": html.escape(entry.source),
            "parity": _figure(figures.get(entry.name)),
        }
        kinds = {"parameters": ' class="number"', "name": ' class="figure"', "parity": ' class="figure"'}
        row = "".join(f'<td{kinds.get(head, "")} data-head="{head}">{cells[head]}</td>' for head in heads)
        lines.append(f"<tr>{row}</tr>")
    lines += ["</table>", "</div>"]
    if figures:
        where = ", ".join(f"{key} {value}" for key, value in measured.get("environment", {}).items())
        lines.append(
            '<p class="note">parity: the verdict of <code>parity check --all</code>, and the greatest difference '
            f"between the two outputs, relative to their scale, in float64 and in float32 ({html.escape(where)}).</p>"
        )
    return "\n".join(lines)


def _figure(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "not measured"
    figures = f"{found['verdict']}, {found['float64']:.1e}"
    if found.get("float32") is not None:
        figures += f", {found['float32']:.1e}"
    arguments = found["checked"].partition("(")[2].rstrip(")")
    return f"{figures}<br><small>as ({html.escape(arguments)})</small>" if arguments else figures


def index_page(texts: Sequence[Text], entries: Mapping[str, Entry], measured: Mapping[str, Any]) -> str:
    """The list of all pages, by generation."""
    counts = measured.get("parameters", {})
    body = [
        "<h1>The networks</h1>",
        "<p>Each is written twice, in Keras and in PyTorch, with the same files, classes, arguments and attributes. "
        "Every page has the idea, the drawing, the two sources side by side, and what had to be pinned for them to "
        "compute the same.</p>",
    ]
    for generation, title in GENERATIONS.items():
        here = [text for text in texts if text.generation == generation]
        if not here:
            continue
        body += [f"<h2>{title}</h2>", '<div class="wide">', '<table class="list">']
        body.append(
            f"<tr><th>page</th><th>entries{', with parameters' if counts else ''}</th><th>idea</th></tr>"
        )
        for text in here:
            names = "<br>".join(
                html.escape(name) + (f" <small>{counts[name]:,}</small>" if name in counts else "")
                for name in text.entries
            )
            body.append(
                f'<tr><td><a href="{text.name}.html">{html.escape(text.title)}</a></td>'
                f'<td class="entries">{names}</td><td>{inline(text.summary)}</td></tr>'
            )
        body += ["</table>", "</div>"]
    missing = [name for text in texts for name in text.entries if name not in entries]
    if missing:
        raise ValueError(f"pages must be of networks in the catalogue; got {missing}")
    return shell("The networks", "\n".join(body))
