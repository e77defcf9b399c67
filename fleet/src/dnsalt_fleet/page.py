"""The summary as one HTML page that needs nothing from elsewhere."""

import datetime
import html
import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

from dnsalt_fleet.networks import VERDICTS

COLOURS = {"broken": "#b3261e", "weak": "#e07b39", "unknown": "#9aa0a6", "fair": "#5b8def", "strong": "#2e7d32"}
#: Bits of the histogram: what a forger has to guess, from nothing to port, ID, case and cookie.
BARS = 50


def render(
    counts: Mapping[str, int],
    bits: Mapping[int, Mapping[str, int]],
    by: str,
    networks: Sequence[Mapping[str, Any]],
    changed: Mapping[str, int] | None,
    changes: Sequence[Mapping[str, Any]],
) -> str:
    """The whole page: verdicts, effective bits, the worst networks, what changed."""
    total = sum(counts.values())
    style = importlib.resources.files("dnsalt_fleet").joinpath("page.css").read_text()
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>DNS resolvers: {total:,} judged</title>",
        f"<style>{style}\n{STYLE}</style></head><body><main>",
        f"<h1>{total:,} DNS resolvers</h1>",
        f'<p class="quiet">Judged by dnsalt, {day}.</p>',
        verdicts(counts),
        "<h2>What a forger has to guess</h2>",
        histogram(bits),
        table_of_networks(by, networks),
    ]
    if changed is not None:
        parts.append(what_changed(changed, changes))
    return "\n".join([*parts, "</main></body></html>", ""])


STYLE = """
.counts { display: flex; flex-wrap: wrap; gap: 1.5rem; margin: 1rem 0; }
.counts div { border-left: .3rem solid; padding-left: .6rem; }
.counts b { display: block; font-size: 1.5rem; }
svg.bits { width: 100%; height: auto; }
svg.bits text { font-size: 11px; fill: currentColor; }
.wide { overflow-x: auto; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
"""


def verdicts(counts: Mapping[str, int]) -> str:
    total = max(sum(counts.values()), 1)
    cell = (
        '<div style="border-color: {colour}"><b>{count:,}</b>{word}<br><span class="quiet">{share}</span></div>'
    )
    cells = [
        cell.format(colour=COLOURS[word], count=counts.get(word, 0), word=word, share=percent(counts.get(word, 0) / total))
        for word in VERDICTS
    ]
    return f'<div class="counts">{"".join(cells)}</div>'


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"


def histogram(bits: Mapping[int, Mapping[str, int]]) -> str:
    """Resolvers by whole bits, coloured by verdict."""
    if not bits:
        return "<p>No resolver has a verdict yet.</p>"
    width, height, left, foot = 720, 220, 52, 34
    last = max(BARS, 10 * (max(bits) // 10 + 1))
    most = max(sum(by_verdict.values()) for by_verdict in bits.values())
    step, room = (width - left - 8) / (last + 1), height - foot - 14
    shapes = []
    for bit, by_verdict in sorted(bits.items()):
        top = float(height - foot)
        for word in VERDICTS:
            count = by_verdict.get(word, 0)
            if count == 0:
                continue
            tall = max(room * count / most, 0.7)
            top -= tall
            shapes.append(
                f'<rect x="{left + bit * step:.1f}" y="{top:.1f}" width="{step * 0.86:.1f}" height="{tall:.1f}" '
                f'fill="{COLOURS[word]}"><title>{bit} bits: {count:,} {word}</title></rect>'
            )
    for bit in range(0, last + 1, 10):
        x = left + (bit + 0.43) * step
        shapes.append(f'<text x="{x:.1f}" y="{height - foot + 16}" text-anchor="middle">{bit}</text>')
    for share in (0.5, 1.0):
        y = height - foot - room * share
        shapes.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{short(most * share)}</text>')
    shapes.append(
        f'<line x1="{left}" y1="{height - foot}" x2="{width - 8}" y2="{height - foot}" stroke="currentColor" stroke-opacity=".4"/>'
    )
    middle = left + (width - left) / 2
    shapes.append(f'<text x="{middle:.0f}" y="{height - 3}" text-anchor="middle">effective bits</text>')
    label = "Resolvers by the bits that a forged reply has to match"
    return f'<svg class="bits" viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(shapes)}</svg>'


def short(count: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f}"


def table_of_networks(by: str, networks: Sequence[Mapping[str, Any]]) -> str:
    title = {"resolver": "The worst resolvers", "prefix": "The worst networks", "asn": "The worst systems"}[by]
    head = ["resolvers", *VERDICTS, "queries", "least bits", "median"]
    rows = []
    for network in networks:
        numbers = [network["resolvers"], *[network[word] for word in VERDICTS], network["queries"]]
        cells = [f'<td class="n">{number or 0:,}</td>' for number in numbers]
        cells += [
            f'<td class="n">{bits_of(network[key])}</td>'
            for key in ("least_bits", "median_bits")
        ]
        rows.append(f"<tr><td>{html.escape(network['network'])}</td>{''.join(cells)}</tr>")
    heads = "".join(f'<th class="n">{name}</th>' for name in head)
    return (
        f'<h2>{title}</h2><div class="wide"><table><tr><th>{"network" if by != "resolver" else "resolver"}</th>{heads}</tr>'
        f"{''.join(rows)}</table></div>"
    )


def bits_of(bits: float | None) -> str:
    return "–" if bits is None else f"{bits:.1f}"


def what_changed(changed: Mapping[str, int], changes: Sequence[Mapping[str, Any]]) -> str:
    if not changed:
        return "<h2>What changed</h2><p>Nothing.</p>"
    words = {
        "worse": "are worse", "better": "are better", "new": "are new", "gone": "are gone",
        "judged": "have a verdict now", "unknown": "have none any more",
    }  # fmt: skip
    told = "; ".join(f"{changed[key]:,} {word}" for key, word in words.items() if changed.get(key))
    rows = []
    for one in changes:
        rows.append(
            f"<tr><td>{html.escape(one['resolver'])}</td><td>{html.escape(one['network'] or '')}</td>"
            f"<td>{one['verdict_before'] or '–'}</td><td>{one['verdict'] or '–'}</td>"
            f'<td class="n">{bits_of(one["bits_before"])}</td><td class="n">{bits_of(one["bits"])}</td></tr>'
        )
    heads = "<tr><th>resolver</th><th>network</th><th>before</th><th>now</th><th class='n'>bits before</th><th class='n'>now</th></tr>"
    table = f'<div class="wide"><table>{heads}{"".join(rows)}</table></div>' if rows else ""
    return f"<h2>What changed</h2><p>{told}.</p>{table}"
