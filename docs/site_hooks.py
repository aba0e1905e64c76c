"""Hooks of mkdocs: bring what the pages of docs/ link to into the site, and generate its reference pages.

The pages link to files of the repository, such as `../sample_processes/chat/app.py`. A Markdown file among those
becomes a page, an image is copied, a text is shown as code, and the links are rewritten. Settings come from the
source of `core/config.py`, so that no page repeats them.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parent.parent
EXTRA_PAGES: Final = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "guest_sdk/c/README.md",
    "guest_sdk/cpp/README.md",
    "guest_sdk/go/README.md",
)
LANGUAGES: Final = {".py": "python", ".ts": "typescript", ".js": "javascript", ".h": "c", ".toml": "toml"}
LINK: Final = re.compile(r"(\[(?:[^\[\]]|\[[^\]]*\])*\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
CONTRACT: Final = "world types messaging http-server capabilities spawning system tracing"

SDK_PAGE: Final = """# Python SDK

`guesthouse_sdk`, for processes in Python. [Guests in Python](../guest-python.md) introduces it.

::: guesthouse_sdk
    options: {members: true, filters: ["!^_"], show_labels: false}

::: guesthouse_sdk.rooms
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.kv
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.tracing
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.vfs
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.timers
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.passwords
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.routes
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.typed
    options: {show_root_heading: true, show_root_toc_entry: true}

::: guesthouse_sdk.testing
    options: {show_root_heading: true, show_root_toc_entry: true}
"""
CLIENT_PAGE: Final = """# Python client

`guesthouse_client`, on asyncio. [Client libraries](../clients.md) introduces it.

::: guesthouse_client
    options: {members: true, filters: ["!^_"], show_labels: false}
"""


TEST_KIT_PAGE: Final = """# Test kit

`guesthouse.testing`, for tests of packages in any language. [Testing packages](../testing.md) introduces it.

::: guesthouse.testing
    options: {members: true, filters: ["!^_", "!^client$", "!^sent$"], show_labels: false}
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside of docs/, those that are generated, and what they link to."""
    for path in EXTRA_PAGES:
        _add(files, config, path)
    for name, text in _reference().items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    for file in list(files):
        if file.is_documentation_page() and not file.src_uri.startswith("reference/"):
            source = _source_of(file.src_uri)
            for _, target, _ in LINK.findall((ROOT / source).read_text()):
                linked = _resolve(source, target)
                if linked is not None and files.get_file_from_path(_site_path(linked)) is None:
                    _add(files, config, linked)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links to files of the repository into links to the site's pages."""
    uri = page.file.src_uri
    if uri.startswith("reference/"):
        return markdown
    source = _source_of(uri)

    def rewrite(found: re.Match[str]) -> str:
        linked = _resolve(source, found[2])
        if linked is None:
            return found[0]
        return found[1] + os.path.relpath(_site_path(linked), os.path.dirname(uri) or ".") + found[3]

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else LINK.sub(rewrite, part) for part in parts)


def _source_of(uri: str) -> str:
    """The file of the repository that a page of the site was made from."""
    if uri == "index.md":
        return "README.md"
    return f"docs/{uri}" if (ROOT / "docs" / uri).exists() else uri


def _site_path(path: str) -> str:
    """Where a file of the repository lies in the site."""
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if Path(path).suffix in (".md", ".svg", ".png") else f"{path}.md"


def _resolve(source: str, target: str) -> str | None:
    """The file of the repository that a link in `source` leads to; of a folder, its README."""
    if re.match(r"[a-z]+:|/", target):
        return None
    path = os.path.normpath(os.path.join(os.path.dirname(source), target))
    readme = os.path.join(path, "README.md")
    return readme if (ROOT / readme).exists() else path


def _add(files: Files, config: MkDocsConfig, path: str) -> None:
    where, uri = ROOT / path, _site_path(path)
    if where.is_dir():
        listed = "\n".join(f"- `{each.name}`" for each in sorted(where.iterdir()))
        text = f"# {path}\n\n{listed}\n"
    elif not where.is_file():
        return  # mkdocs names the link that leads nowhere
    elif where.suffix in (".svg", ".png"):
        files.append(File.generated(config, uri, abs_src_path=str(where)))
        return
    else:
        text = where.read_text()
        if where.suffix != ".md":
            text = f"# {path}\n\n````{LANGUAGES.get(where.suffix, 'text')}\n{text}````\n"
    in_menu = InclusionLevel.INCLUDED if path in EXTRA_PAGES else InclusionLevel.NOT_IN_NAV
    files.append(File.generated(config, uri, content=text, inclusion=in_menu))


def _reference() -> dict[str, str]:
    types = (ROOT / "clients/javascript/types.d.ts").read_text()
    headers = [ROOT / "guest_sdk/c/include" / name for name in ("guesthouse.h", "guesthouse_types.h")]
    wit = [ROOT / "wit" / f"{name}.wit" for name in CONTRACT.split()]
    return {
        "settings": _settings(),
        "python-sdk": SDK_PAGE,
        "python-client": CLIENT_PAGE,
        "test-kit": TEST_KIT_PAGE,
        "javascript-client": "# JavaScript client\n\n"
        f"[Client libraries](../clients.md) introduces it.\n\n```typescript\n{types}```\n",
        "c-sdk": "# C SDK\n\n"
        + "".join(f"## {file.name}\n\n```c\n{file.read_text()}```\n" for file in headers),
        "contract": "# Contract\n\nEverything that a process can do.\n\n"
        + "".join(f"## {file.name}\n\n```wit\n{file.read_text()}```\n" for file in wit),
    }


def _settings() -> str:
    """A table for each section of the settings: name, default and what it is."""
    tree = ast.parse((ROOT / "host/guesthouse/core/config.py").read_text())
    lines = [
        "# Settings",
        "",
        "In `guesthouse.toml` in the node's home, or as `GUESTHOUSE_<SECTION>_<NAME>`. What the limits",
        "do: [Protocol](../protocol.md#limits).",
    ]
    for node in tree.body:
        doc = ast.get_docstring(node) if isinstance(node, ast.ClassDef) else None
        if not isinstance(node, ast.ClassDef) or doc is None or not doc.startswith("`["):
            continue
        heading, _, about = doc.partition(":")
        lines += [
            "",
            f"## {heading}",
            "",
            about.strip().capitalize(),
            "",
            "| name | default | |",
            "|---|---|---|",
        ]
        lines += _rows(node)
    return "\n".join(lines) + "\n"


def _rows(section: ast.ClassDef) -> list[str]:
    rows: list[str] = []
    for field, after in zip(section.body, [*section.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        about: Any = after.value if isinstance(after, ast.Expr) else None
        text = " ".join(str(about.value).split()) if isinstance(about, ast.Constant) else ""
        default = "" if field.value is None else f"`{ast.unparse(field.value)}`"
        rows.append(f"| `{field.target.id}` | {default} | {text.replace('|', chr(92) + '|')} |")
    return rows
