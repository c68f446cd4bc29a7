"""From an example to token ids that know which word they belong to.

Every token carries the number of its word, or -1 when it belongs to the prompt, the template or a special
token. Words are removed at this level and never by decoding and encoding again.
"""

import string
import unicodedata
from dataclasses import dataclass

import numpy as np

from rationales.errors import StudyError
from rationales.examples import Example
from rationales.explainers.prompts import classification_request
from rationales.tasks import wording_for

PROMPT_STYLES = ("chat", "plain")
PLAIN_ANSWER = "\nAnswer:"


@dataclass(frozen=True)
class Encoded:
    """One example as a subject reads it.

    token_ids, token_words: (tokens,); token_words is the word number or -1.
    token_types: (tokens,) segment ids for encoders that use them, else None.
    prefix: number of tokens before the first token of a word.
    label_ids: per label, the token ids of the verbalised label (causal LMs; empty for encoders).
    route: "offsets" when every token lay inside one word, "word by word" when words were encoded one at a time.
    """

    example_id: str
    n_words: int
    token_ids: np.ndarray
    token_words: np.ndarray
    token_types: np.ndarray | None
    prefix: int
    label_ids: tuple[tuple[int, ...], ...]
    route: str


def segment_offsets(intro: str, segments: tuple[str, ...]) -> tuple[str, list[int]]:
    """The presented text and where each segment starts in it; `intro` holds placeholders {0}, {1}."""
    text, starts = "", [0] * len(segments)
    for literal, field, _, _ in string.Formatter().parse(intro):
        text += literal
        if field is not None:
            starts[int(field)] = len(text)
            text += segments[int(field)]
    return text, starts


def assign_tokens(offsets: list[tuple[int, int]], text: str, spans: list[tuple[int, int]]) -> np.ndarray | None:
    """Word number of each token, or None when a token reaches into two words or into a word and the prompt.

    spans: [start, end) of each word in `text`, in order. White space in front of a word, inside the text,
    belongs to the word that follows it, so that removing the word removes it, too.
    """
    owner = np.full(len(text) + 1, -1)
    for number, (start, end) in enumerate(spans):
        owner[start:end] = number
    words = np.full(len(offsets), -1)
    for index, (start, end) in enumerate(offsets):
        inked = [place for place in range(start, end) if not text[place].isspace()]
        owners = {int(owner[place]) for place in inked}
        if len(owners) > 1:
            return None
        if owners:
            words[index] = owners.pop()
        elif end > start and spans:
            following = next((n for n, (begin, _) in enumerate(spans) if begin >= end), None)
            # Only white space that touches the word on its right and follows a word of the text.
            if following is not None and following > 0 and text[end : spans[following][0]].strip() == "":
                between = text[spans[following - 1][1] : start]
                words[index] = following if between.strip() == "" else -1
    return words


def plain_letters(text: str) -> str:
    """Text without white space, case and accents, which some tokenizers drop."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not letter.isspace() and not unicodedata.combining(letter))


def words_are_whole(tokenizer, ids: list[int], words: np.ndarray, texts: list[str]) -> bool:
    """Whether the tokens assigned to each word decode to that word; offsets of byte-fallback tokens can be wrong."""
    ids = np.asarray(ids)
    return all(plain_letters(tokenizer.decode(ids[words == n])) == plain_letters(text) for n, text in enumerate(texts))


def encode_word_by_word(
    tokenizer, text: str, spans: list[tuple[int, int]], add_special: bool
) -> tuple[list[int], list[int]]:
    """Token ids and word numbers of `text` when every word is encoded alone; for tokens that span words.

    Some tokenizers add a blank to whatever they encode. Words are tried with and without the blank in front of
    them; the first way that decodes to the text is kept, else the first.
    """
    first = None
    for with_blank in (True, False):
        ids, words = encode_pieces(tokenizer, text, spans, add_special, with_blank)
        if tokenizer.decode(ids, skip_special_tokens=add_special).split() == text.split():
            return ids, words
        first = first or (ids, words)
    return first


def encode_pieces(
    tokenizer, text: str, spans: list[tuple[int, int]], add_special: bool, with_blank: bool
) -> tuple[list[int], list[int]]:
    """Token ids and word numbers of the words of `text` and of the stretches between them, each encoded alone."""
    pieces, place = [], 0
    for number, (start, end) in enumerate(spans):
        gap = text[place:start]
        blank = " " if with_blank and gap.endswith(" ") else ""
        pieces += [(gap.removesuffix(" "), -1), (blank + text[start:end], number)]
        place = end
    pieces = [(piece, word) for piece, word in [*pieces, (text[place:], -1)] if piece]
    # One call for all pieces: the tokenizer's work per call is far larger than its work per word.
    encoded = tokenizer([piece for piece, _ in pieces], add_special_tokens=False)["input_ids"]
    if add_special:
        encoded[0] = without_end(tokenizer.encode(pieces[0][0], add_special_tokens=True), tokenizer)
    words = [word for (_, word), new in zip(pieces, encoded, strict=True) for _ in new]
    return [token for new in encoded for token in new], words


def without_end(ids: list[int], tokenizer) -> list[int]:
    """Token ids without a closing end token: what follows must still belong to the same text."""
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def render_prompt(tokenizer, content: str, style: str, name: str) -> tuple[str, int]:
    """The full prompt that asks `content`, ending where the answer begins, and where `content` starts in it."""
    if style == "plain":
        return content + PLAIN_ANSWER, 0
    if not getattr(tokenizer, "chat_template", None):
        raise StudyError(
            f"The checkpoint '{name}' has no chat template; set `prompt_style: plain` for it, or choose an instruct model."
        )
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    start = rendered.rfind(content)
    if start < 0:
        raise StudyError(
            f"The chat template of '{name}' changes the text it is given; set `prompt_style: plain` for it."
        )
    return rendered, start


def encode_prompt(tokenizer, task: str, labels: tuple[str, ...], example: Example, style: str, name: str) -> Encoded:
    """The classification turn of an example for a causal LM, ending where the label is answered."""
    wording = wording_for(task, example.language)
    presented, starts = segment_offsets(wording.intro, example.segments)
    content = classification_request(task, example)
    inside = content.rfind(presented)
    rendered, start = render_prompt(tokenizer, content, style, name)
    spans = [
        (start + inside + starts[word.segment] + word.start, start + inside + starts[word.segment] + word.end)
        for word in example.words
    ]
    add_special = style == "plain"
    ids, words, route = encode_spans(tokenizer, rendered, spans, example.word_texts, add_special)
    verbal = [(" " if style == "plain" else "") + wording.labels[label] for label in labels]
    label_ids = tuple(encode_labels(tokenizer, rendered, verbal, add_special))
    check_labels_differ(label_ids, labels, name)
    first = int(np.argmax(words >= 0))
    return Encoded(example.example_id, len(spans), np.array(ids), np.asarray(words), None, first, label_ids, route)


def encode_spans(
    tokenizer, rendered: str, spans: list[tuple[int, int]], texts: list[str], add_special: bool
) -> tuple[list[int], np.ndarray, str]:
    """Token ids of a prompt, the word number of each or -1, and the route; spans, texts: of the words in the prompt."""
    batch = tokenizer(rendered, add_special_tokens=add_special, return_offsets_mapping=True)
    ids, offsets = list(batch["input_ids"]), list(batch["offset_mapping"])
    if add_special:
        ids = without_end(ids, tokenizer)
        offsets = offsets[: len(ids)]
    words = assign_tokens(offsets, rendered, spans)
    if words is not None and words_are_whole(tokenizer, ids, words, texts):
        return ids, words, "offsets"
    ids, word_list = encode_word_by_word(tokenizer, rendered, spans, add_special)
    return ids, np.array(word_list), "word by word"


def encode_labels(tokenizer, prompt: str, labels: list[str], add_special: bool) -> list[tuple[int, ...]]:
    """Token ids of each label as the continuation of the prompt; encoded alone where the two would merge."""
    alone, *joint = tokenizer([prompt, *(prompt + label for label in labels)], add_special_tokens=add_special)[
        "input_ids"
    ]
    if add_special:
        alone, joint = without_end(alone, tokenizer), [without_end(ids, tokenizer) for ids in joint]
    return [
        tuple(ids[len(alone) :])
        if ids[: len(alone)] == alone and len(ids) > len(alone)
        else tuple(tokenizer.encode(label.strip(), add_special_tokens=False))
        for label, ids in zip(labels, joint, strict=True)
    ]


def check_labels_differ(label_ids: tuple[tuple[int, ...], ...], labels: tuple[str, ...], name: str) -> None:
    """Refuse label words of which one begins another: their probabilities could not be compared."""
    for i, first in enumerate(label_ids):
        for j, second in enumerate(label_ids):
            if i != j and second[: len(first)] == first:
                raise StudyError(
                    f"For '{name}' the tokens of label '{labels[i]}' begin those of '{labels[j]}'; "
                    "choose other words for the labels in rationales/tasks.py."
                )


def encode_for_encoder(tokenizer, example: Example) -> Encoded:
    """An example for an encoder classifier: special tokens, one or two segments, no prompt."""
    pair = example.segments[1:] or None
    if len(example.segments) > 2:
        raise StudyError(
            f"Example '{example.example_id}' has {len(example.segments)} segments; encoders read one or two."
        )
    batch = tokenizer(example.segments[0], pair[0] if pair else None, return_offsets_mapping=True)
    ids = np.array(batch["input_ids"])
    segments = batch.sequence_ids(0)
    words, route = np.full(len(ids), -1), "offsets"
    for segment, text in enumerate(example.segments):
        numbers = [n for n, word in enumerate(example.words) if word.segment == segment]
        spans = [(example.words[n].start, example.words[n].end) for n in numbers]
        places = [place for place, owner in enumerate(segments) if owner == segment]
        inside = assign_tokens([batch["offset_mapping"][place] for place in places], text, spans)
        if inside is None:
            return encode_words_for_encoder(tokenizer, example)
        words[places] = [numbers[n] if n >= 0 else -1 for n in inside]
    if set(range(len(example.words))) - set(words.tolist()):
        return encode_words_for_encoder(tokenizer, example)
    types = np.array(batch["token_type_ids"]) if "token_type_ids" in batch else None
    return Encoded(example.example_id, len(example.words), ids, words, types, int(np.argmax(words >= 0)), (), route)


def encode_words_for_encoder(tokenizer, example: Example) -> Encoded:
    """The same, with the words handed over one by one, for tokenizers whose tokens span words."""
    parts = [[word.text for word in example.words if word.segment == s] for s in range(len(example.segments))]
    batch = tokenizer(parts[0], parts[1] if len(parts) > 1 else None, is_split_into_words=True)
    segments, places = batch.sequence_ids(0), batch.word_ids(0)
    shift = [0, len(parts[0])]
    words = np.array([-1 if s is None else shift[s] + w for s, w in zip(segments, places, strict=True)])
    types = np.array(batch["token_type_ids"]) if "token_type_ids" in batch else None
    return Encoded(
        example.example_id, len(example.words), np.array(batch["input_ids"]), words, types,
        int(np.argmax(words >= 0)), (), "word by word",
    )  # fmt: skip
