"""`make scale`: write docs/scale.md and print the limits."""

from __future__ import annotations

from pathlib import Path

from benchmarks.scale import facts, model, report, stack

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


def main() -> None:
    """Write the page."""
    deployed, guess = stack.read(), model.Assumptions()
    PAGE.write_text(report.page(deployed, guess))
    print("\n".join(report.lines(model.limits(deployed, guess))))
    print(f"docs/scale.md written; prices and quotas as of {facts.SEEN}")


if __name__ == "__main__":
    main()
