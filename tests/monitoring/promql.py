"""As much of PromQL as config/grafana/ uses, evaluated on scrapes; promql_parser reads it, and is loaded for that.

What it leaves out: staleness, lookback, extrapolation of rates to the ends of the range.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

NAME = "__name__"

Node = Any  # of the tree that promql_parser makes
Labels = frozenset[tuple[str, str]]
Vector = Mapping[Labels, float]
Scrape = tuple[float, Vector]  # seconds, and the samples with their names among the labels

MATCH = {
    "MatchOp.Equal": lambda value, wanted: value == wanted,
    "MatchOp.NotEqual": lambda value, wanted: value != wanted,
    "MatchOp.Re": lambda value, wanted: re.fullmatch(wanted, value) is not None,
    "MatchOp.NotRe": lambda value, wanted: re.fullmatch(wanted, value) is None,
}
ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda one, other: one / other if other else float("nan"),
}
COMPARISON: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
AGGREGATION: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "max": max, "min": min}


def samples_of(exposition: str, **target: str) -> Vector:
    """The samples of an exposition as Prometheus keeps them, with the labels of the target."""
    families = text_string_to_metric_families(exposition)
    return {
        frozenset((sample.labels | target | {NAME: sample.name}).items()): sample.value
        for family in families
        for sample in family.samples
    }


def parse(expression: str) -> Node:
    """The tree of an expression; raises ValueError."""
    import promql_parser

    return promql_parser.parse(expression)


def selectors(expression: str) -> list[Node]:
    """Every selector of an expression, in its order."""
    import promql_parser

    found: list[Node] = []

    def visit(node: Node) -> bool:
        if kind(node) == "MatrixSelector":
            node = node.vector_selector
        if kind(node) == "VectorSelector":
            found.append(node)
        return True

    promql_parser.walk(parse(expression), visit)
    return found


def kind(node: Node) -> str:
    """What a node of the tree is."""
    return type(node).__name__


def evaluate(expression: str, scrapes: Sequence[Scrape]) -> Vector:
    """The samples that an expression has at the last scrape, without their names."""
    result = _value(parse(expression), scrapes)
    assert not isinstance(result, float), f"{expression} is a number"
    return {_without(labels, NAME): value for labels, value in result.items()}


def _value(node: Node, scrapes: Sequence[Scrape]) -> Vector | float:
    match kind(node):
        case "ParenExpr":
            return _value(node.expr, scrapes)
        case "NumberLiteral":
            return float(node.val)
        case "VectorSelector":
            return _select(node, scrapes[-1][1])
        case "Call":
            return _call(node, scrapes)
        case "AggregateExpr":
            return _aggregate(node, scrapes)
        case "BinaryExpr":
            return _binary(node, _value(node.lhs, scrapes), _value(node.rhs, scrapes))
    raise NotImplementedError(kind(node))


def _select(node: Node, samples: Vector) -> Vector:
    wanted = [(m.name, MATCH[str(m.op)], m.value) for m in node.matchers.matchers]
    if node.name:
        wanted.append((NAME, MATCH["MatchOp.Equal"], node.name))
    return {
        labels: value
        for labels, value in samples.items()
        if all(fits(dict(labels).get(name, ""), text) for name, fits, text in wanted)
    }


def _call(node: Node, scrapes: Sequence[Scrape]) -> Vector:
    name = node.func.name
    if name == "histogram_quantile":
        share, buckets = (_value(argument, scrapes) for argument in node.args)
        assert isinstance(share, float)
        assert not isinstance(buckets, float)
        return _quantiles(share, buckets)
    (range_,) = node.args
    last = scrapes[-1][0]
    inside = [scrape for scrape in scrapes if scrape[0] >= last - range_.range.total_seconds()]
    chosen = [(at, _select(range_.vector_selector, samples)) for at, samples in inside]
    return {
        _without(labels, NAME): _over_time(name, [(at, samples[labels]) for at, samples in chosen if labels in samples])
        for labels in chosen[-1][1]
    }


def _over_time(name: str, points: Sequence[tuple[float, float]]) -> float:
    """A function of a range, for one series."""
    steps = [(one[1], other[1]) for one, other in pairwise(points)]
    grown = sum(after - before if after >= before else after for before, after in steps)
    seconds = points[-1][0] - points[0][0]
    known = {
        "rate": grown / seconds if seconds else float("nan"),
        "increase": grown,
        "resets": float(sum(after < before for before, after in steps)),
    }
    return known[name]


def _quantiles(share: float, buckets: Vector) -> Vector:
    """histogram_quantile, to the upper bound of the bucket."""
    series: dict[Labels, dict[float, float]] = {}
    for labels, count in buckets.items():
        series.setdefault(_without(labels, "le"), {})[float(dict(labels)["le"])] = count
    return {
        labels: min(bound for bound, count in counts.items() if count >= share * max(counts.values()))
        for labels, counts in series.items()
    }


def _aggregate(node: Node, scrapes: Sequence[Scrape]) -> Vector:
    inner, groups = _value(node.expr, scrapes), {}
    assert not isinstance(inner, float)
    if str(node.op) == "topk":
        count = int(_value(node.param, scrapes))  # type: ignore[arg-type]
        return dict(sorted(inner.items(), key=lambda row: -row[1])[:count])
    kept = node.modifier.labels if node.modifier else []
    assert node.modifier is None or str(node.modifier.type) == "AggModifierType.By"
    for labels, value in inner.items():
        groups.setdefault(frozenset(pair for pair in labels if pair[0] in kept), []).append(value)
    return {labels: AGGREGATION[str(node.op)](values) for labels, values in groups.items()}


def _binary(node: Node, left: Vector | float, right: Vector | float) -> Vector | float:
    sign = str(node.op)
    if isinstance(left, float) and isinstance(right, float):
        return ARITHMETIC[sign](left, right)
    assert not isinstance(left, float), "a number comes second"
    if isinstance(right, float):
        pairs = {labels: (value, right) for labels, value in left.items()}
    else:
        key, there = _key(node), {}
        for labels, value in right.items():
            there[key(labels)] = value
        if sign == "or":
            return {**{labels: v for labels, v in right.items() if key(labels) not in set(map(key, left))}, **left}
        if sign == "and":
            return {labels: value for labels, value in left.items() if key(labels) in there}
        assert len(there) == len(right), f"{node}: many on the right side"
        pairs = {labels: (value, there[key(labels)]) for labels, value in left.items() if key(labels) in there}
    if sign in COMPARISON and node.modifier and node.modifier.return_bool:
        return {_without(labels, NAME): float(COMPARISON[sign](*pair)) for labels, pair in pairs.items()}
    if sign in COMPARISON:
        return {labels: one for labels, (one, other) in pairs.items() if COMPARISON[sign](one, other)}
    return {_without(labels, NAME): ARITHMETIC[sign](one, other) for labels, (one, other) in pairs.items()}


def _key(node: Node) -> Callable[[Labels], Labels]:
    """What of the labels of both sides must be equal."""
    matching = node.modifier.matching if node.modifier else None
    if matching is None:
        return lambda labels: _without(labels, NAME)
    names = set(matching.labels)
    if str(matching.type) == "LabelModifierType.Include":
        return lambda labels: frozenset(pair for pair in labels if pair[0] in names)
    return lambda labels: _without(labels, NAME, *names)


def _without(labels: Labels, *names: str) -> Labels:
    return frozenset(pair for pair in labels if pair[0] not in names)
