"""`make faults RECORD=1`: run the whole matrix, and write it into docs/reliability.md if every test passes."""

from __future__ import annotations

import sys

import pytest

from tests.faults.table import write
from tests.faults.test_table import RELIABILITY


def main() -> int:
    """Run the tests, write the matrix, and return pytest's exit code."""
    deselected = "tests/faults/test_table.py::test_the_document_has_the_tested_matrix"
    code = int(pytest.main(["tests/faults", f"--deselect={deselected}"]))
    if code == 0:
        write(RELIABILITY)
    return code


if __name__ == "__main__":
    sys.exit(main())
