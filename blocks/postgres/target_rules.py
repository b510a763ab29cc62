"""What a target's own triggers refuse, and what to do.

Read from the fields that PostgreSQL sends beside its texts, so that no language changes them:
https://www.postgresql.org/docs/current/protocol-error-fields.html
"""

from __future__ import annotations

import re

from psycopg2.extensions import Diagnostics

# Where a function's own words are reported: RAISE of PL/pgSQL, die of PL/Perl, and the like.
_FUNCTIONS_OWN = re.compile(r"(^|/)(pl_exec|plperl|pltcl|plpy_\w+|plv8\w*)\.(c|cc)$")
_FUNCTION = re.compile(r"[\w$.\"]+\([^()]*\)")


def is_raised(code: str, diag: Diagnostics) -> bool:
    """Whether a function or trigger raised it, whose author's words may hold anything."""
    return code[:2] == "P0" or bool(_FUNCTIONS_OWN.search(diag.source_file or ""))


def explain_raised(diag: Diagnostics) -> tuple[str, str]:
    """Which function raised it, and what to do."""
    found = _FUNCTION.search((diag.context or "").split("\n")[0])
    return (
        f"the function {found[0]} refuses it" if found else "a function or trigger refuses it",
        "Correct the rows in the source, or have its owner change the function, or run on the "
        "target: ALTER TABLE … DISABLE TRIGGER …;",
    )
