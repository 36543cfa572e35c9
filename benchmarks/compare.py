"""``python benchmarks/compare.py A.json B.json``: B over A, the largest change first."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

#: Changes of a figure, B over A, between which two runs on one machine may differ by chance.
MIN_SLOWER, MAX_FASTER = 1.1, 1 / 1.1


def figures(result):
    """Return the figures of a file by benchmark and name."""
    return {
        (benchmark, name): value
        for benchmark, found in result["figures"].items()
        for name, value in found.items()
    }


def differences(a, b):
    """Return lines on what differs between the two runs besides the figures."""
    lines = []
    for part in ("machine", "versions"):
        for name in sorted(a[part].keys() | b[part].keys()):
            one, other = a[part].get(name), b[part].get(name)
            if one != other:
                lines.append(f"{part}, {name}: {one} -> {other}")
    return lines


def changes(a, b):
    """Return (B over A, benchmark, name, value of A, value of B), the largest first."""
    one, other = figures(a), figures(b)
    shared = [key for key in one if key in other and one[key]]
    return sorted((other[key] / one[key], *key, one[key], other[key]) for key in shared)[::-1]


def verdict(change):
    """Return a word on a change of a figure, of which less is better."""
    return "slower" if change > MIN_SLOWER else "faster" if change < MAX_FASTER else ""


def report(a, b):
    """Return the comparison as text."""
    lines = [f"A: {a['date']}, {a['commit']}; B: {b['date']}, {b['commit']}", *differences(a, b)]
    lines += ["", f"{'A':>10s} {'B':>10s} {'B/A':>6s}"]
    for change, benchmark, name, one, other in changes(a, b):
        lines.append(
            f"{one:10.4g} {other:10.4g} {change:6.2f} {verdict(change):6s} {benchmark}: {name}"
        )
    for label, less, more in (("A", b, a), ("B", a, b)):
        alone = sorted(figures(more).keys() - figures(less).keys())
        lines += [f"only in {label}: {benchmark}: {name}" for benchmark, name in alone]
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("a", type=Path, help="the file compared with")
    parser.add_argument("b", type=Path, help="the file compared")
    args = parser.parse_args(arguments)
    print(report(*(json.loads(p.read_text(encoding="utf-8")) for p in (args.a, args.b))))


if __name__ == "__main__":
    main()
