"""The works that are timed: what is computed, by which tools, and which numbers must come out equal.

A tool is a function of a `Setting` and a number of examples that returns one array of numbers per example. "engine" is
the project's own explainer; "one by one" asks one whole text at a time; "batched" asks whole texts in padded batches;
"captum" is captum's own class. Masks of words are the same for all tools (captum's KernelShap alone draws its own).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks import models, peers
from rationales.examples import Example
from rationales.explainers.registry import Workbench, explain
from rationales.explainers.surrogates import fit_lime, fit_shap
from rationales.metrics.faithfulness import ERASER_FRACTIONS, plan_masks
from rationales.metrics.selection import resolve_k
from rationales.randomness import generator_for
from rationales.subjects.base import Subject
from rationales.subjects.encoding import Encoded
from rationales.subjects.engine import Engine, Request

EXPLAINERS = {  # whose rankings are scored by comprehensiveness and sufficiency
    "occlusion": {}, "lime": {}, "kernel_shap": {}, "saliency": {}, "input_x_gradient": {}, "integrated_gradients": {},
    "attnlrp": {}, "cp_lrp": {}, "attention": {}, "greedy": {},
}  # fmt: skip


class ListeningEngine(Engine):
    """An engine that keeps the masks it is asked for, so that the other tools can be given the same."""

    def answer(self, requests):
        self.__dict__.setdefault("heard", []).extend(requests)
        return super().answer(requests)


@dataclass
class Setting:
    """A subject, its examples with their predicted labels, and the sizes of the works."""

    subject: Subject
    examples: list[Example]
    n_samples: int = 200
    n_steps: int = 50
    with_prompt: bool = False  # whether relevance of the prompt is wanted, too
    targets: list[int] = field(init=False)
    kept: dict = field(default_factory=dict)

    def __post_init__(self):
        self.targets = Engine(self.subject).full(self.examples).argmax(1).tolist()

    def encoded(self, number: int) -> Encoded:
        return self.subject.encode(self.examples[number])

    def bench(self, number: int, engine: Engine | None = None) -> Workbench:
        """A workbench on the first examples, with an engine that remembers nothing, its prompt neither."""
        if engine is None:
            self.subject.forget_prompts()
            engine = Engine(self.subject)
        return Workbench(engine, self.examples[:number], self.targets[:number])

    def once(self, key: object, make: Callable):
        """A preparation that is not timed, made when first asked for."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def masks(self, name: str, number: int) -> np.ndarray:
        """The masks that a surrogate draws for one example."""

        def listen() -> np.ndarray:
            bench = self.bench(number + 1, ListeningEngine(self.subject))
            explain(name, bench, n_samples=self.n_samples)
            return next(r.masks for r in bench.engine.heard if r.example is self.examples[number])

        return self.once((name, number), listen)

    def prepare(self, work: str, number: int) -> None:
        """Everything that a work needs for one example and that no clock should count."""
        if work in ("lime", "together"):
            self.masks("lime", number)
        if work == "kernel_shap":
            self.masks("kernel_shap", number)
        if work in ("faithfulness", "together"):
            self.orders(number)

    def orders(self, number: int) -> list[np.ndarray]:
        """The order of the words, most important first, by each of the explainers."""

        def rank() -> list[np.ndarray]:
            bench = Workbench(Engine(self.subject), [self.examples[number]], [self.targets[number]])
            return [np.argsort(-explain(name, bench, **options)[0].scores) for name, options in EXPLAINERS.items()]

        return self.once(("orders", number), rank)


Tool = Callable[[Setting, int], list[np.ndarray]]
ASKS = {"one by one": peers.ask_one_by_one, "batched": peers.ask_in_batches}


@dataclass(frozen=True)
class Work:
    """tools: by name, "engine" first. examples: how many each tool is timed on, the engine and the others.

    texts: how many texts are asked for per example. check_sum: tools that are held to the sum of the numbers alone.
    """

    name: str
    tools: dict[str, Tool]
    examples: tuple[int, int] = (4, 1)
    texts: Callable[[Setting], int] = lambda setting: 1
    check_sum: tuple[str, ...] = ()
    note: str = ""


def explained(name: str, **options) -> Tool:
    """The engine's tool for an explainer; options may name fields of the setting, such as "n_samples"."""

    def run(setting: Setting, number: int) -> list[np.ndarray]:
        given = {option: getattr(setting, value) for option, value in options.items()}
        return [explanation.scores for explanation in explain(name, setting.bench(number), **given)]

    return run


def asking(compute: Callable[[Setting, int, peers.Ask], np.ndarray], ask: Callable) -> Tool:
    """A tool that answers masks in its own way and computes the rest as the engine does."""

    def run(setting: Setting, number: int) -> list[np.ndarray]:
        return [compute(setting, i, ask(setting.subject, setting.encoded(i))) for i in range(number)]

    return run


def on_each(compute: Callable[[Setting, int], np.ndarray]) -> Tool:
    """A tool that takes one example after the other."""
    return lambda setting, number: [compute(setting, i) for i in range(number)]


def target_scores(setting: Setting, number: int, answers: np.ndarray) -> np.ndarray:
    return answers[:, setting.targets[number]].astype(float)


def occlude(setting: Setting, number: int, ask: peers.Ask) -> np.ndarray:
    words = len(setting.examples[number].words)
    values = target_scores(
        setting, number, ask(np.concatenate([np.ones((1, words), bool), ~np.eye(words, dtype=bool)]))
    )
    return values[0] - values[1:]


def fit_lime_to(setting: Setting, number: int, ask: peers.Ask) -> np.ndarray:
    masks = setting.masks("lime", number)
    return fit_lime(masks, target_scores(setting, number, ask(masks)), kernel_width=0.25, ridge=1.0)


def fit_shap_to(setting: Setting, number: int, ask: peers.Ask) -> np.ndarray:
    masks = setting.masks("kernel_shap", number)
    drawn_as = "all" if 2 ** masks.shape[1] <= setting.n_samples else "kernel"
    return fit_shap(masks, target_scores(setting, number, ask(masks)), drawn_as)


def delete_greedily(setting: Setting, number: int, ask: peers.Ask) -> np.ndarray:
    """Ranks (words,), largest for the word whose removal lowers the target most, and so on among those left."""
    kept = np.ones(len(setting.examples[number].words), bool)
    ranks = np.zeros(len(kept))
    while kept.any():
        left = np.flatnonzero(kept)
        masks = np.repeat(kept[None], len(left), 0)
        masks[np.arange(len(left)), left] = False
        worst = left[int(np.argmin(target_scores(setting, number, ask(masks))))]
        ranks[worst], kept[worst] = kept.sum(), False
    return ranks


def faithfulness_masks(setting: Setting, number: int) -> np.ndarray:
    """Masks (1 + explainers * 10, words): the intact text, then per explainer those of ERASER's five sizes.

    First without the most important words, then only these. Sizes that come out equal are asked for again, as a plain
    loop over the five does.
    """
    words = len(setting.examples[number].words)
    ks = np.array([resolve_k(fraction, words) for fraction in ERASER_FRACTIONS])
    plans = [plan_masks(order[None], ks) for order in setting.orders(number)]
    return np.concatenate([np.ones((1, words), bool), *(half[0] for plan in plans for half in plan)])


def faithfulness_from(setting: Setting, number: int, answers: np.ndarray) -> np.ndarray:
    """Mean comprehensiveness and sufficiency over the five sizes of each explainer, (explainers * 2,)."""
    probabilities = np.exp(target_scores(setting, number, answers))
    return probabilities[0] - probabilities[1:].reshape(-1, len(ERASER_FRACTIONS)).mean(1)


def score_faithfulness(setting: Setting, number: int, ask: peers.Ask) -> np.ndarray:
    return faithfulness_from(setting, number, ask(faithfulness_masks(setting, number)))


def engine_faithfulness(setting: Setting, number: int, engine: Engine | None = None) -> list[np.ndarray]:
    bench = setting.bench(number, engine)
    requests = [Request(setting.examples[i], faithfulness_masks(setting, i)) for i in range(number)]
    return [faithfulness_from(setting, i, answers) for i, answers in enumerate(bench.engine.answer(requests))]


def engine_together(setting: Setting, number: int) -> list[np.ndarray]:
    bench = setting.bench(number)
    parts = [
        [one.scores for one in explain("occlusion", bench)],
        [one.scores for one in explain("lime", bench, n_samples=setting.n_samples)],
        engine_faithfulness(setting, number, bench.engine),
    ]
    return [np.concatenate(one) for one in zip(*parts, strict=True)]


def all_together(setting: Setting, number: int, ask: peers.Ask) -> np.ndarray:
    return np.concatenate([compute(setting, number, ask) for compute in (occlude, fit_lime_to, score_faithfulness)])


def with_asks(compute: Callable) -> dict[str, Tool]:
    return {name: asking(compute, ask) for name, ask in ASKS.items()}


def captum_tool(function: Callable, *extra: Callable[[Setting, int], object]) -> Tool:
    """A tool from a function of (subject, encoded, target, further arguments)."""
    return on_each(
        lambda setting, i: function(
            setting.subject, setting.encoded(i), setting.targets[i], *(make(setting, i) for make in extra)
        )
    )


def words_of(setting: Setting) -> int:
    return len(setting.examples[0].words)


def faithfulness_texts(setting: Setting) -> int:
    return len(faithfulness_masks(setting, 0))


def gradient_work(name: str) -> Work:
    def method(setting: Setting, number: int) -> str:
        return name

    def steps(setting: Setting, number: int) -> int:
        return setting.n_steps

    integrated = name == "integrated_gradients"
    tools = {
        "engine": explained(name, **({"n_steps": "n_steps"} if integrated else {})),
        "captum": captum_tool(peers.captum_gradient, method, steps),
        "batched": captum_tool(peers.batched_gradient, method, steps),
    }
    return Work(name, tools, (2, 1) if integrated else (8, 4), lambda s: s.n_steps if integrated else 1)


def relevance_work(rule: str) -> Work:
    whole = on_each(lambda s, i: peers.whole_relevance(s.subject, s.encoded(i), s.targets[i], rule))
    return Work(rule, {"engine": explained(rule, prompt="with_prompt"), "one by one": whole}, (8, 4))


def samples(setting: Setting) -> int:
    return setting.n_samples


def together_texts(setting: Setting) -> int:
    return words_of(setting) + 1 + setting.n_samples + faithfulness_texts(setting)


ALL = [
    Work(
        "occlusion",
        {"engine": explained("occlusion"), **with_asks(occlude), "captum": captum_tool(peers.captum_occlusion)},
        texts=lambda setting: words_of(setting) + 1,
    ),
    Work(
        "lime",
        {
            "engine": explained("lime", n_samples="n_samples"),
            "batched": asking(fit_lime_to, peers.ask_in_batches),
            "captum": captum_tool(peers.captum_lime, lambda setting, i: setting.masks("lime", i)),
        },
        texts=samples,
    ),
    Work(
        "kernel_shap",
        {
            "engine": explained("kernel_shap", n_samples="n_samples"),
            "batched": asking(fit_shap_to, peers.ask_in_batches),
            "captum": captum_tool(peers.captum_kernel_shap, lambda setting, i: setting.n_samples),
        },
        texts=samples,
        check_sum=("captum",),
        note="captum draws its own masks: equal number, only the sum is compared",
    ),
    Work(
        "faithfulness",
        {"engine": engine_faithfulness, **with_asks(score_faithfulness)},
        texts=faithfulness_texts,
        note=f"five-point comprehensiveness and sufficiency of {len(EXPLAINERS)} explainers",
    ),
    Work(
        "together",
        {"engine": engine_together, **with_asks(all_together)},
        texts=together_texts,
        note="occlusion, LIME and faithfulness",
    ),
    Work(
        "greedy",
        {"engine": explained("greedy"), **with_asks(delete_greedily)},
        texts=lambda setting: words_of(setting) * (words_of(setting) + 1) // 2,
    ),
    *(gradient_work(name) for name in ("saliency", "input_x_gradient", "integrated_gradients")),
    *(relevance_work(rule) for rule in ("attnlrp", "cp_lrp")),
    Work(
        "attention",
        {
            "engine": explained("attention"),
            "one by one": on_each(lambda s, i: peers.whole_attention(s.subject, s.encoded(i))),
        },
        (8, 4),
    ),
]
WORKS = {work.name: work for work in ALL}


def make_setting(kind: str, size: str, words: int, prompt: int, device: str, dtype: str, **sizes: int) -> Setting:
    """A causal model or an encoder with eight texts."""
    if kind == "causal":
        subject = models.build_causal(size, prompt, device, dtype)
    else:
        subject = models.build_encoder(size, device, dtype)
    return Setting(subject, models.make_examples(words, 8), **sizes)


def random_masks(number: int, words: int, seed: int = 0) -> np.ndarray:
    """Distinct keep-masks (number, words) that keep about half of the words."""
    generator = generator_for("benchmark", seed, number, words)
    masks = generator.random((4 * number + 8, words)) < 0.5
    return np.unique(masks, axis=0)[generator.permutation(len(np.unique(masks, axis=0)))][:number]
