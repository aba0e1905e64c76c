"""The node's own HTML pages. Pure. They load no resources and only one of them runs a script."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from guesthouse.core.address import ProcessId

_STYLE: Final = """
:root{color-scheme:light dark;--page:#f4f2ee;--card:#fff;--ink:#22262b;--soft:#5d6670;--line:#d9d5cd;--mark:#24584c;
--on-mark:#fff;--bad:#9c2412;--bad-page:#fdeeea}
@media(prefers-color-scheme:dark){:root{--page:#16191c;--card:#1f2428;--ink:#e8e6e1;--soft:#a3abb3;--line:#353c42;
--mark:#7fc4b1;--on-mark:#10201c;--bad:#ffab99;--bad-page:#3a1f1a}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;background:var(--page);color:var(--ink);
font:1.0625rem/1.5 system-ui,sans-serif}
main{width:100%;max-width:26rem;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:1.75rem}
main.wide{max-width:38rem}
h1{margin:0;font-size:1.5rem;line-height:1.25}
p{margin:.5rem 0 0}.soft{color:var(--soft)}.node{overflow-wrap:anywhere;font-weight:600}
form{margin:1.25rem 0 0}
label{display:block;margin:1rem 0 .35rem;font-weight:600}
input{width:100%;min-height:2.9rem;padding:.5rem .75rem;font:inherit;color:inherit;background:var(--page);
border:1px solid var(--line);border-radius:8px}
button{width:100%;min-height:2.9rem;margin-top:1.25rem;font:inherit;font-weight:600;color:var(--on-mark);
background:var(--mark);border:0;border-radius:8px;cursor:pointer}
button.quiet{width:auto;padding:0 1.1rem;color:var(--ink);background:transparent;border:1px solid var(--line)}
:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
.bad{margin-top:1.25rem;padding:.7rem .9rem;border-radius:8px;background:var(--bad-page);color:var(--bad);
font-weight:600}
details{margin-top:1.25rem}summary{cursor:pointer;color:var(--soft)}
ul{list-style:none;margin:1.25rem 0 0;padding:0;border-top:1px solid var(--line)}
li a{display:block;padding:.85rem .25rem;border-bottom:1px solid var(--line);color:inherit;text-decoration:none}
li a:hover strong{text-decoration:underline}li small{display:block;color:var(--soft);overflow-wrap:anywhere}
code{overflow-wrap:anywhere}
.unseen{position:absolute;width:1px;min-height:0;height:1px;padding:0;border:0;overflow:hidden;clip-path:inset(50%)}
"""

_TITLES: Final = {
    403: "Access denied",
    404: "Page not found",
    429: "Too many requests",
    503: "Temporarily unavailable",
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{head}<style>{style}</style>
</head>
<body>
<main{wide}>
{content}
</main>
</body>
</html>
"""
_TRY_OWN_ORIGIN: Final = """
const own = document.getElementById("own"), show = (id, shown) => { document.getElementById(id).hidden = !shown; };
show("waiting", true);
show("problem", false);
fetch(own.dataset.probe, {mode: "no-cors", cache: "no-store", credentials: "omit"}).then(
    () => location.replace(own.href),
    () => { show("waiting", false); show("problem", true); },
);
"""
OWN_ORIGIN_SCRIPT: Final = (
    f"'sha256-{base64.b64encode(hashlib.sha256(_TRY_OWN_ORIGIN.encode()).digest()).decode()}'"
)
"""Content-Security-Policy source of the script of `own_origin_page`."""


def escape(text: str) -> str:
    """`html.escape`, whose module has a table of all entities and is loaded when a page is shown first."""
    return html.escape(text)


def _page(title: str, content: str, *, wide: bool = False, head: str = "") -> str:
    shown = ' class="wide"' if wide else ""
    return _PAGE.format(title=escape(title), style=_STYLE, wide=shown, content=content, head=head)


def login_page(
    node: str, *, action: str, problem: str = "", password: bool = True, wrong: bool = True
) -> str:
    """The login form.

    Args:
        node: the node's name.
        action: URL that the form is sent to.
        problem: error message, or empty.
        password: whether the node has a password.
        wrong: whether the problem is with what was typed.
    """
    alert = f'<p class="bad" role="alert" id="problem">{escape(problem)}</p>' if problem else ""
    described = ' aria-describedby="problem"' if problem else ""
    described += ' aria-invalid="true"' if problem and wrong else ""
    second_way = (
        '<label for="token">Token</label>'
        '<input id="token" name="token" type="password" autocomplete="off" spellcheck="false"{extra}>'
        '<p class="soft"><small><code>guesthouse token</code> prints one, on the machine of the node.</small></p>'
    )
    if password:
        fields = (
            # Hidden: password managers store a password under it.
            f'<input class="unseen" name="username" type="text" autocomplete="username" value="{escape(node)}"'
            ' aria-label="Node" tabindex="-1" readonly>'
            '<label for="password">Password</label>'
            '<input id="password" name="password" type="password" autocomplete="current-password" autofocus'
            f"{described}><details><summary>Use a token instead</summary>{second_way.format(extra='')}</details>"
        )
    else:
        fields = second_way.format(extra=f" autofocus{described}")
    return _page(
        f"Log in to {node}",
        f'<h1>Log in</h1><p class="soft">to the node <span class="node">{escape(node)}</span></p>{alert}'
        f'<form method="post" action="{escape(action)}">{fields}<button type="submit">Log in</button></form>',
    )


def home_page(node: str, processes: Sequence[ProcessId]) -> str:
    """The list of processes with a page."""
    items = "".join(
        f'<li><a href="/{quote(str(process), safe=":~")}/"><strong>{escape(process.process_name)}</strong>'
        f"<small>{escape(str(process))}</small></a></li>"
        for process in processes
    )
    listing = f"<ul>{items}</ul>" if items else '<p class="soft">No process of this node has a page.</p>'
    return _page(
        node,
        f'<h1 class="node">{escape(node)}</h1><p class="soft">Processes with a page</p>{listing}'
        '<form method="post" action="/logout"><button class="quiet" type="submit">Log out</button></form>',
        wide=True,
    )


def refusal_page(status: int, reason: str) -> str:
    """An error page."""
    title = _TITLES.get(status, "Something went wrong")
    sentence = f"{reason[:1].upper()}{reason[1:]}"
    return _page(
        title,
        f'<h1>{escape(title)}</h1><p class="soft">{escape(sentence)} ({status}).</p>'
        '<ul><li><a href="/"><strong>All pages of this node</strong></a></li></ul>',
    )


def logout_page(node: str) -> str:
    """The confirmation before logging out."""
    return _page(
        f"Log out of {node}",
        f'<h1>Log out?</h1><p class="soft">of the node <span class="node">{escape(node)}</span></p>'
        '<form method="post" action="/logout"><button type="submit">Log out</button></form>',
    )


def going_on_page(target: str, title: str) -> str:
    """Redirects to a path of the same host, by HTML."""
    path = escape(quote(target, safe="/:~?&=%+,;@!$'()*-._#"))
    return _page(
        title,
        f'<p><a href="{path}">Continue</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={path}">\n',
    )


def own_origin_page(host: str, own: str, probe: str, share: str) -> str:
    """Redirects to a package's own origin if the browser can reach it; else offers to share the node's origin."""
    return _page(
        "Opening a page",
        f'<p id="waiting" hidden>Opening <code>{escape(host)}</code></p><div id="problem">'
        f"<h1>Cannot reach {escape(host)}</h1>"
        '<p class="soft">Each package has its own address, so that its pages are isolated from those of others. This '
        "browser cannot reach that address. Chromium and Firefox can.</p>"
        f'<ul><li><a id="own" href="{escape(own)}" data-probe="{escape(probe)}"><strong>Retry</strong></a></li></ul>'
        '<p class="soft">Or let all packages share the node\'s address in this browser. Their pages are then less '
        "isolated: do so only if you trust all installed packages.</p>"
        f'<form method="post" action="{escape(share)}"><button class="quiet" type="submit">Share the address</button>'
        f"</form></div><script>{_TRY_OWN_ORIGIN}</script>",
    )
