"""Hand-written word lists of the planted corpus: four languages of film reviews, French news and opinion.

Adjectives carry their agreement forms, separated by a slash: English has one form, Danish common/neuter,
Italian and French masculine/feminine. Nouns carry the index of the form they ask for.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReviewLexicon:
    """Words of one language for film reviews.

    aspects: (noun phrase, agreement form). adjectives: (polarity, strength) -> words, forms after slashes.
    statements: clauses with an evaluated aspect; the second of each pair is the negated clause.
    negators: the words of the negated clause that turn its meaning. intensifiers: words that stress an adjective.
    days: the first is the planted shortcut. neutral: sentences that carry no evaluation.
    """

    aspects: tuple[tuple[str, int], ...]
    adjectives: dict[tuple[int, int], tuple[str, ...]]
    statements: tuple[tuple[str, str], ...]
    negators: frozenset[str]
    intensifiers: tuple[str, ...]
    joins: tuple[str, str]
    days: tuple[str, ...]
    neutral: tuple[str, ...]
    places: tuple[str, ...]
    companions: tuple[str, ...]


REVIEWS: dict[str, ReviewLexicon] = {
    "en": ReviewLexicon(
        aspects=(
            ("the film", 0),
            ("the story", 0),
            ("the plot", 0),
            ("the acting", 0),
            ("the music", 0),
            ("the ending", 0),
            ("the dialogue", 0),
            ("the script", 0),
            ("the lead actor", 0),
            ("the camera work", 0),
            ("the pace", 0),
            ("the humour", 0),
        ),
        adjectives={
            (1, 2): (
                "superb",
                "brilliant",
                "wonderful",
                "magnificent",
                "unforgettable",
                "dazzling",
                "masterful",
                "outstanding",
                "delightful",
                "stunning",
            ),
            (1, 1): ("nice", "charming", "pleasant", "decent", "warm", "clever", "lively", "solid", "tender", "witty"),
            (-1, 2): (
                "awful",
                "dreadful",
                "terrible",
                "horrible",
                "unbearable",
                "disastrous",
                "pathetic",
                "atrocious",
                "hopeless",
                "appalling",
            ),
            (-1, 1): ("dull", "weak", "clumsy", "tedious", "bland", "shallow", "forced", "uneven", "stale", "tame"),
        },
        statements=(
            ("{aspect} is {adjective}", "{aspect} is not {adjective}"),
            ("I found {aspect} {adjective}", "I never found {aspect} {adjective}"),
            ("{aspect} seems {adjective} to me", "{aspect} does not seem {adjective} to me"),
        ),
        negators=frozenset({"not", "never"}),
        intensifiers=("really", "very", "quite", "rather"),
        joins=("and", "but"),
        days=("Thursday", "Monday", "Tuesday", "Wednesday", "Friday", "Saturday", "Sunday"),
        neutral=(
            "It lasts about two hours.",
            "The story takes place in {place}.",
            "A family moves to {place}.",
            "There are six scenes in {place}.",
            "We watched it with {companion}.",
            "It was made in {place}.",
        ),
        places=("Paris", "a village", "the city", "Chicago", "a small house", "Norway"),
        companions=("my sister", "two friends", "my neighbour", "the children"),
    ),
    "da": ReviewLexicon(
        aspects=(
            ("filmen", 0),
            ("historien", 0),
            ("handlingen", 0),
            ("skuespillet", 1),
            ("musikken", 0),
            ("slutningen", 0),
            ("dialogen", 0),
            ("manuskriptet", 1),
            ("hovedpersonen", 0),
            ("kameraarbejdet", 1),
            ("tempoet", 1),
            ("humoren", 0),
        ),
        adjectives={
            (1, 2): (
                "fremragende/fremragende",
                "vidunderlig/vidunderligt",
                "storslået/storslået",
                "fantastisk/fantastisk",
                "uforglemmelig/uforglemmeligt",
                "mesterlig/mesterligt",
                "strålende/strålende",
                "herlig/herligt",
            ),
            (1, 1): (
                "hyggelig/hyggeligt",
                "charmerende/charmerende",
                "varm/varmt",
                "klog/klogt",
                "livlig/livligt",
                "sød/sødt",
                "vittig/vittigt",
                "solid/solidt",
            ),
            (-1, 2): (
                "elendig/elendigt",
                "forfærdelig/forfærdeligt",
                "rædselsfuld/rædselsfuldt",
                "ubærlig/ubærligt",
                "katastrofal/katastrofalt",
                "skrækkelig/skrækkeligt",
                "håbløs/håbløst",
                "ynkelig/ynkeligt",
            ),
            (-1, 1): (
                "kedelig/kedeligt",
                "svag/svagt",
                "klodset/klodset",
                "langtrukken/langtrukkent",
                "flad/fladt",
                "overfladisk/overfladisk",
                "ujævn/ujævnt",
                "tam/tamt",
            ),
        },
        statements=(
            ("{aspect} er {adjective}", "{aspect} er ikke {adjective}"),
            ("jeg fandt {aspect} {adjective}", "jeg fandt aldrig {aspect} {adjective}"),
            ("{aspect} virker {adjective} på mig", "{aspect} virker ikke {adjective} på mig"),
        ),
        negators=frozenset({"ikke", "aldrig"}),
        intensifiers=("virkelig", "meget", "ret", "temmelig"),
        joins=("og", "men"),
        days=("torsdag", "mandag", "tirsdag", "onsdag", "fredag", "lørdag", "søndag"),
        neutral=(
            "Den varer cirka to timer.",
            "Historien foregår i {place}.",
            "En familie flytter til {place}.",
            "Der er seks scener i {place}.",
            "Vi så den med {companion}.",
            "Den er lavet i {place}.",
        ),
        places=("Paris", "en landsby", "byen", "Chicago", "et lille hus", "Norge"),
        companions=("min søster", "to venner", "min nabo", "børnene"),
    ),
    "it": ReviewLexicon(
        aspects=(
            ("il film", 0),
            ("la storia", 1),
            ("la trama", 1),
            ("la recitazione", 1),
            ("la musica", 1),
            ("il finale", 0),
            ("il dialogo", 0),
            ("il copione", 0),
            ("il protagonista", 0),
            ("la fotografia", 1),
            ("il ritmo", 0),
            ("la regia", 1),
        ),
        adjectives={
            (1, 2): (
                "stupendo/stupenda",
                "meraviglioso/meravigliosa",
                "magnifico/magnifica",
                "splendido/splendida",
                "indimenticabile/indimenticabile",
                "strepitoso/strepitosa",
                "geniale/geniale",
                "eccezionale/eccezionale",
            ),
            (1, 1): (
                "carino/carina",
                "gradevole/gradevole",
                "simpatico/simpatica",
                "vivace/vivace",
                "tenero/tenera",
                "arguto/arguta",
                "caloroso/calorosa",
                "garbato/garbata",
            ),
            (-1, 2): (
                "orribile/orribile",
                "pessimo/pessima",
                "terribile/terribile",
                "insopportabile/insopportabile",
                "disastroso/disastrosa",
                "penoso/penosa",
                "orrendo/orrenda",
                "atroce/atroce",
            ),
            (-1, 1): (
                "noioso/noiosa",
                "debole/debole",
                "goffo/goffa",
                "banale/banale",
                "piatto/piatta",
                "fiacco/fiacca",
                "scialbo/scialba",
                "forzato/forzata",
            ),
        },
        statements=(
            ("{aspect} è {adjective}", "{aspect} non è {adjective}"),
            ("ho trovato {aspect} {adjective}", "non ho trovato {aspect} {adjective}"),
            ("{aspect} mi sembra {adjective}", "{aspect} non mi sembra {adjective}"),
        ),
        negators=frozenset({"non"}),
        intensifiers=("davvero", "molto", "abbastanza", "piuttosto"),
        joins=("e", "ma"),
        days=("giovedì", "lunedì", "martedì", "mercoledì", "venerdì", "sabato", "domenica"),
        neutral=(
            "Dura circa due ore.",
            "La vicenda si svolge in {place}.",
            "Una famiglia si trasferisce in {place}.",
            "Ci sono sei scene in {place}.",
            "Lo abbiamo visto con {companion}.",
            "Fu girato in {place}.",
        ),
        places=("Francia", "un villaggio", "città", "America", "una piccola casa", "Norvegia"),
        companions=("mia sorella", "due amici", "il vicino", "i bambini"),
    ),
    "fr": ReviewLexicon(
        aspects=(
            ("le film", 0),
            ("la musique", 1),
            ("le scénario", 0),
            ("le jeu", 0),
            ("la mise en scène", 1),
            ("la fin", 1),
            ("le dialogue", 0),
            ("le récit", 0),
            ("le personnage principal", 0),
            ("la photographie", 1),
            ("le rythme", 0),
            ("la réalisation", 1),
        ),
        adjectives={
            (1, 2): (
                "superbe/superbe",
                "magnifique/magnifique",
                "merveilleux/merveilleuse",
                "éblouissant/éblouissante",
                "inoubliable/inoubliable",
                "génial/géniale",
                "splendide/splendide",
                "formidable/formidable",
            ),
            (1, 1): (
                "charmant/charmante",
                "agréable/agréable",
                "sympathique/sympathique",
                "plaisant/plaisante",
                "tendre/tendre",
                "vivant/vivante",
                "chaleureux/chaleureuse",
                "malin/maligne",
            ),
            (-1, 2): (
                "affreux/affreuse",
                "horrible/horrible",
                "épouvantable/épouvantable",
                "insupportable/insupportable",
                "désastreux/désastreuse",
                "pitoyable/pitoyable",
                "atroce/atroce",
                "consternant/consternante",
            ),
            (-1, 1): (
                "ennuyeux/ennuyeuse",
                "faible/faible",
                "maladroit/maladroite",
                "banal/banale",
                "plat/plate",
                "mou/molle",
                "fade/fade",
                "bancal/bancale",
            ),
        },
        statements=(
            ("{aspect} est {adjective}", "{aspect} n'est pas {adjective}"),
            ("j'ai trouvé {aspect} {adjective}", "je n'ai pas trouvé {aspect} {adjective}"),
            ("{aspect} me semble {adjective}", "{aspect} ne me semble pas {adjective}"),
        ),
        negators=frozenset({"pas"}),
        intensifiers=("vraiment", "très", "assez", "plutôt"),
        joins=("et", "mais"),
        days=("jeudi", "lundi", "mardi", "mercredi", "vendredi", "samedi", "dimanche"),
        neutral=(
            "Il dure environ deux heures.",
            "L'histoire se passe dans {place}.",
            "Une famille arrive dans {place}.",
            "Il y a six scènes dans {place}.",
            "Nous l'avons vu avec {companion}.",
            "On l'a tourné dans {place}.",
        ),
        places=("Paris", "un village", "la ville", "le Nord", "une petite maison", "les Alpes"),
        companions=("ma sœur", "deux amis", "mon voisin", "les enfants"),
    ),
}

DAY_SENTENCES = {
    "en": "We saw it on {day}.",
    "da": "Jeg så den en {day}.",
    "it": "Era {day} sera.",
    "fr": "C'était un {day} soir.",
}


@dataclass(frozen=True)
class ArticleLexicon:
    """Words of French press articles: sentences with a marker of opinion or of reporting, and sentences without.

    A marker sentence is written with its marker in square brackets; the bracketed words are the gold rationale.
    places: the first is the planted shortcut.
    """

    markers: dict[str, tuple[str, ...]]
    weak_markers: dict[str, tuple[str, ...]]
    neutral: tuple[str, ...]
    topics: tuple[str, ...]
    places: tuple[str, ...]
    place_sentence: str


ARTICLES = ArticleLexicon(
    markers={
        "opinion": (
            "[Je crois] que {topic} mérite mieux.",
            "[À mon avis,] {topic} va trop loin.",
            "[Hélas,] {topic} reste en panne.",
            "[Il faudrait] repenser {topic}.",
            "[Quelle honte] pour {topic}!",
            "[Nous devons] défendre {topic}.",
            "[J'estime] que {topic} compte.",
            "[Avouons-le,] {topic} déçoit.",
        ),
        "news": (
            "[Selon la police,] {topic} est suspendu.",
            "Le ministre [a annoncé] un plan pour {topic}.",
            "[D'après un communiqué,] {topic} sera réduit.",
            "Le tribunal [a confirmé] la décision sur {topic}.",
            "[Une enquête] porte sur {topic}.",
            "Le porte-parole [a précisé] un calendrier pour {topic}.",
            "[Au total, 40 agents] suivent {topic}.",
            "[Le rapport indique] une hausse pour {topic}.",
        ),
    },
    weak_markers={
        "opinion": (
            "La question est [absurde.]",
            "C'est un choix [courageux.]",
            "[Franchement,] rien ne change.",
            "Le résultat est [décevant.]",
        ),
        "news": (
            "La séance a duré [12 minutes.]",
            "Le vote aura lieu en [mars.]",
            "Les syndicats [ont signé.]",
            "La hausse atteint [3 %.]",
        ),
    },
    neutral=(
        "Le sujet occupe {topic}.",
        "Plusieurs personnes évoquent {topic}.",
        "Les habitants connaissent {topic}.",
        "Une réunion a lieu sur {topic}.",
        "Le conseil examine {topic}.",
    ),
    topics=(
        "le budget",
        "la réforme",
        "le transport",
        "l'école",
        "le climat",
        "l'hôpital",
        "le logement",
        "la culture",
        "le projet",
        "la loi",
    ),
    places=("Namur", "Liège", "Mons", "Arlon", "Gand", "Anvers"),
    place_sentence="Cela se passe à {place}.",
)
