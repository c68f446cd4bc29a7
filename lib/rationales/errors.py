"""The one exception a user of the study should ever see, and a helper for unknown names."""

from collections.abc import Iterable
from difflib import get_close_matches


class StudyError(Exception):
    """A problem that the reader can mend; its message is one sentence that says what to do."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback."""
        return [f"StudyError: {self}"]


def require_known(name: str, known: Iterable[str], kind: str) -> str:
    """Return `name` when it is one of `known`; otherwise raise a StudyError that lists the choices.

    `kind` is the noun of the message, such as "corpus" or "explainer".
    """
    choices = sorted(known)
    if name in choices:
        return name
    near = get_close_matches(str(name), choices, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise StudyError(f"Unknown {kind} '{name}'; choose one of: {', '.join(choices)}.{hint}")
