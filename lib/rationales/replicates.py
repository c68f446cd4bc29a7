"""Replicates: the same explanation once more, in other words, sampled again or drawn again.

Of every explanation one variant stands for all in tables and figures: the prompt as written, the greedy answer, the
first draw. The others say in their names what they are, and count only where their spread is measured.
"""

import re
from typing import NamedTuple

import pandas as pd

from rationales.errors import StudyError, require_known
from rationales.explainers.prompts import parse_paradigm
from rationales.explainers.wordings import WORDINGS

MOST_REPEATS = 100  # answers to one prompt; the seeds of paraphrases are this far apart
REPLICATE = re.compile(r"[~#]|(?:^|,)draw=[1-9]")


class Variant(NamedTuple):
    """The parts of a variant's name: what was asked, and which paraphrase, sampled repeat and random draw it is.

    Each number is 0 where it is not named: the prompt as written, the greedy answer, the first draw.
    """

    base: str
    paraphrase: int = 0
    repeat: int = 0
    draw: int = 0


def split_variant(variant: str) -> Variant:
    """Return the parts of a variant such as "PE-list-free-anchored~2#1" or "draw=3,n_samples=100".

    "~n" counts paraphrases of a prompt, "#n" sampled repeats, and the option `draw` the random draws of an explainer;
    they may stand in any order. What is left is the base, "default" when nothing is.
    """
    numbers = {}
    for sign in "~#":
        found = re.search(rf"{sign}(\d+)", variant)
        numbers[sign] = int(found.group(1)) if found else 0
    options = re.sub(r"[~#]\d+", "", variant).split(",")
    draws = [option for option in options if re.fullmatch(r"draw=\d+", option)]
    base = ",".join(option for option in options if option not in draws) or "default"
    return Variant(base, numbers["~"], numbers["#"], int(draws[0].removeprefix("draw=")) if draws else 0)


def join_variant(base: str, paraphrase: int = 0, repeat: int = 0) -> str:
    """Return the name of a self-explanation's variant, such as "PE-list-free-anchored~2#1"; zeros are not named."""
    return base + (f"~{paraphrase}" if paraphrase else "") + (f"#{repeat}" if repeat else "")


def is_replicate(variant: str) -> bool:
    """Return whether a variant is a paraphrase, a sampled repeat or a further draw of another one."""
    return REPLICATE.search(str(variant)) is not None


def without_replicates(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose `variant` is no replicate: the explanations that tables and figures compare."""
    replicates = [variant for variant in table["variant"].unique() if is_replicate(variant)]
    return table[~table["variant"].isin(replicates)]


def replicates_of(settings: dict, paradigm: str) -> list[tuple[int, int]]:
    """Return how a paradigm is asked: pairs (paraphrase, repeat), the answer that stands for it, (0, 0), first.

    settings: the section `self_explanations` of a study file. Repeat 0 is the greedy answer, the others are sampled.
    Every paraphrase has all repeats, so that what the wording and what the sampling adds can be told apart.
    """
    again = settings["replicated"] is None or paradigm in settings["replicated"]
    paraphrases, repeats = (settings["paraphrases"], settings["repeats"]) if again else (1, 1)
    return [(paraphrase, repeat) for paraphrase in range(paraphrases) for repeat in range(repeats)]


def sample_seed_of(seed: int, paraphrase: int, repeat: int) -> int | None:
    """Return the seed of a sampled answer, another one for each training seed, paraphrase and repeat; None is greedy."""
    return None if repeat == 0 else 1000 * seed + MOST_REPEATS * paraphrase + repeat


def check_self_explanations(settings: dict) -> None:
    """Raise StudyError for unknown paradigms and impossible numbers in the section `self_explanations`."""
    for paradigm in settings["paradigms"]:
        parse_paradigm(paradigm)
    for entry, most in (("paraphrases", WORDINGS), ("repeats", MOST_REPEATS)):
        if type(settings[entry]) is not int or not 1 <= settings[entry] <= most:
            raise StudyError(
                f"`self_explanations: {entry}` is {settings[entry]!r}; give a whole number from 1 to {most}."
            )
    for paradigm in settings["replicated"] or []:
        require_known(paradigm, settings["paradigms"], "paradigm to replicate")


def check_draws(explainers: dict[str, list[tuple[str, dict]]]) -> None:
    """Raise StudyError for a further draw of an explainer whose first draw the study does not name.

    explainers: groups of (name, options). The first draw stands for the explainer in tables and figures; the others
    only show how far it could have been off.
    """
    entries = [entry for group in explainers.values() for entry in group]
    first = [(name, options) for name, options in entries if not options.get("draw")]
    for name, options in entries:
        draw = options.get("draw", 0)
        if type(draw) is not int or draw < 0:
            raise StudyError(f"`draw` of the explainer '{name}' is {draw!r}; give a whole number of at least 0.")
        rest = {option: value for option, value in options.items() if option != "draw"}
        if draw and (name, rest) not in first and (name, rest | {"draw": 0}) not in first:
            raise StudyError(
                f"The study draws the explainer '{name}' again (draw {draw}) but never for the first time; "
                "name it without `draw`, too."
            )


def add_variant_parts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the columns base, paraphrase, repeat and draw."""
    parts = {variant: split_variant(variant) for variant in table["variant"].unique()}
    columns = {name: table["variant"].map({v: getattr(p, name) for v, p in parts.items()}) for name in Variant._fields}
    return table.assign(**columns)


def main_variants(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per explanation of a seed: repeats, paraphrases and further draws are left out.

    Of each explainer and base the variant with the lowest numbers stays, for a recording may hold no first one.
    """
    known = table[["explainer", "variant"]].drop_duplicates()
    first = add_variant_parts(known).sort_values(["paraphrase", "repeat", "draw"], kind="stable")
    kept = pd.MultiIndex.from_frame(first.drop_duplicates(["explainer", "base"])[["explainer", "variant"]])
    return table[pd.MultiIndex.from_frame(table[["explainer", "variant"]]).isin(kept)]
