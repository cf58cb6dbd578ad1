"""`make faults RECORD=1`: run all of the matrix, and write it into docs/reliability.md if all of it holds."""

from __future__ import annotations

import sys

import pytest

from tests.faults.table import write
from tests.faults.test_table import RELIABILITY


def main() -> int:
    """Return pytest's exit code."""
    deselected = "tests/faults/test_table.py::test_the_documents_have_the_matrix_that_is_tested"
    code = int(pytest.main(["tests/faults", f"--deselect={deselected}"]))
    if code == 0:
        write(RELIABILITY)
    return code


if __name__ == "__main__":
    sys.exit(main())
