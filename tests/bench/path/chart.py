"""A bar chart as SVG: groups of bars, each with a line from its lowest to its highest round."""

from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT = 720, 160, 70  # pixels: of the whole, of names, of figures
BAR, GAP, HEAD = 18, 6, 34
COLOURS = ("#9aa0a6", "#b0a58a", "#c58f6b", "#7fa7d1", "#2f6db5", "#173f73", "#a8c99a")


class Bar(NamedTuple):
    """One bar, and how far the rounds were apart."""

    name: str
    value: float
    low: float
    high: float


def draw(title: str, groups: list[tuple[str, list[Bar]]]) -> str:
    """The chart, on white, so that it can be read on any page."""
    most = max((bar.high for _, bars in groups for bar in bars), default=1) or 1
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = [_text(10, 20, title, "start", "bold")], HEAD
    for name, bars in groups:
        y += BAR
        parts.append(_text(10, y - 4, name, "start", "bold"))
        for bar, colour in zip(bars, COLOURS, strict=False):
            middle = y + BAR / 2
            parts += [
                _text(LEFT - 8, middle + 4, bar.name, "end"),
                f'<rect x="{LEFT}" y="{y}" width="{bar.value * scale:.1f}" height="{BAR}" fill="{colour}"/>',
                f'<path d="M{LEFT + bar.low * scale:.1f} {middle}H{LEFT + bar.high * scale:.1f}" stroke="#202124"/>',
                _text(LEFT + bar.high * scale + 6, middle + 4, f"{bar.value:,.{0 if most >= 100 else 1}f}", "start"),
            ]
            y += BAR + GAP
    frame = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + GAP}" width="{WIDTH}" role="img">'
    ground = f'<rect width="{WIDTH}" height="{y + GAP}" fill="#ffffff"/>'
    return "\n".join([frame, f"<title>{escape(title)}</title>", ground, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    font = f'font-family="sans-serif" font-size="12" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {font} fill="#202124">{escape(text)}</text>'
