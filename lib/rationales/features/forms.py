"""Inflected forms of regular French and English verbs and French adjectives, so that word lists can stay short."""

FRENCH_ER_ENDINGS = (
    "er e es ons ez ent ais ait ions iez aient ai a âmes âtes èrent erai eras era erons erez eront erais erait "
    "erions eriez eraient é ée és ées ant"
).split()
SOFT_ENDINGS = ("a", "o", "â")  # before these, c is written ç and g is written ge


def inflect_french_er(infinitive: str) -> frozenset[str]:
    """Return the forms of a regular French verb in -er: indicative, conditional, participles.

    Verbs in -cer and -ger keep their sound (annonçait, mangeait). Verbs that change their last vowel before a silent
    ending get both vowels (répète, achète, appelle), so that a few forms that do not exist are among them.
    """
    stem = infinitive.removesuffix("er")
    forms = set()
    for ending in FRENCH_ER_ENDINGS:
        soft = ending.startswith(SOFT_ENDINGS)
        base = stem[:-1] + "ç" if soft and stem.endswith("c") else stem + "e" if soft and stem.endswith("g") else stem
        forms.add(base + ending)
        if ending in ("e", "es", "ent") or ending.startswith("er"):
            forms.update(base_ + ending for base_ in _strong_stems(stem) if ending != "er")
    return frozenset(forms)


def _strong_stems(stem: str) -> list[str]:
    """Stems before a silent ending, for verbs whose last vowel changes there."""
    if len(stem) < 3 or stem[-1] in "aeiouéèyg":
        return []
    if stem[-2] == "é":
        return [stem[:-2] + "è" + stem[-1]]
    if stem[-2] == "e":
        return [stem[:-2] + "è" + stem[-1], stem + stem[-1]]
    return []


def inflect_french_adjective(masculine: str) -> frozenset[str]:
    """Return masculine and feminine, singular and plural, by the regular rules; give irregular forms one by one."""
    rules = [("eux", "eux", "euse"), ("if", "ifs", "ive"), ("al", "aux", "ale"), ("el", "els", "elle"),
             ("er", "ers", "ère"), ("ien", "iens", "ienne"), ("on", "ons", "onne")]  # fmt: skip
    for ending, plural, feminine in rules:
        if masculine.endswith(ending):
            stem = masculine.removesuffix(ending)
            return frozenset({masculine, stem + plural, stem + feminine, stem + feminine + "s"})
    plural = masculine if masculine[-1] in "sx" else masculine + "s"
    feminine = masculine if masculine.endswith("e") else masculine + "e"
    return frozenset({masculine, plural, feminine, feminine + "s"})


def inflect_english(verb: str) -> frozenset[str]:
    """Return the forms of a regular English verb: base, -s, -ed, -ing.

    One-syllable verbs that end in one vowel and one consonant double it (admit is given as "admitt/admit").
    """
    if "/" in verb:
        doubled, base = verb.split("/")
        return frozenset({base, base + "s", doubled + "ed", doubled + "ing"})
    if verb.endswith("e"):
        return frozenset({verb, verb + "s", verb + "d", verb[:-1] + "ing"})
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return frozenset({verb, verb[:-1] + "ies", verb[:-1] + "ied", verb + "ing"})
    third = verb + "es" if verb.endswith(("s", "x", "z", "ch", "sh")) else verb + "s"
    return frozenset({verb, third, verb + "ed", verb + "ing"})
