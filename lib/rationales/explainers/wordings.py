"""The wording of a request for a rationale, in four languages, as written and in other words.

Each language has the same number of wordings, which ask for the same thing in the same form: the first one, which the
embedded subject was taught, and paraphrases of it. How much of an explanation is the wording is then measured.
"""

from dataclasses import dataclass

from rationales.errors import StudyError


@dataclass(frozen=True)
class Phrases:
    """The request for a rationale in one language; placeholders: {item}, {claim}, {k}, {low}, {high}."""

    scores_anchored: str
    scores_open: str
    scores_open_many: str
    topk_anchored: str
    topk_open: str
    list_anchored: str
    list_open: str
    at_most: str
    json_words: str
    json_pairs: str
    then_answer: str


# Ends every question for the label. It has no paraphrase: all wordings explain one and the same prediction.
ONE_WORD = {
    "en": "Answer with one word.",
    "da": "Svar med ét ord.",
    "it": "Rispondi con una parola.",
    "fr": "Réponds par un mot.",
}

PHRASES: dict[str, tuple[Phrases, ...]] = {
    "en": (
        Phrases(
            scores_anchored="Score every word {item} from -1 to 1 by how much it shows that {claim}.",
            scores_open="Score every word {item} from -1 ({low}) to 1 ({high}).",
            scores_open_many="Score every word {item} from -1 to 1 by how much it supports your answer.",
            topk_anchored="Rank the {k} words {item} that show best that {claim}, best first.",
            topk_open="Rank the {k} words {item} that matter most for your answer, best first.",
            list_anchored="Which words {item} show that {claim}?",
            list_open="Which words {item} decide your answer?",
            at_most="Return at most {k} words.",
            json_words="Return a JSON list of words.",
            json_pairs="Return a JSON list of [word, score] pairs.",
            then_answer="Then answer on a new line:",
        ),
        Phrases(
            scores_anchored="Rate each word {item} between -1 and 1: how strongly does it suggest that {claim}?",
            scores_open="Give each word {item} a number from -1 ({low}) to 1 ({high}).",
            scores_open_many="Rate each word {item} between -1 and 1: how strongly does it back your answer?",
            topk_anchored="Name the {k} words {item} that tell us most clearly that {claim}; start with the clearest one.",
            topk_open="Name the {k} words {item} that your answer depends on most; start with the most important one.",
            list_anchored="List the words {item} which tell us that {claim}.",
            list_open="List the words {item} which led you to your answer.",
            at_most="Give no more than {k} words.",
            json_words="Write them as a JSON list of words.",
            json_pairs="Write the result as a JSON list of [word, score] pairs.",
            then_answer="After that, on a new line, answer the question:",
        ),
        Phrases(
            scores_anchored="For every word {item}, say with a number from -1 to 1 how far it indicates that {claim}.",
            scores_open="For every word {item}, say with a number where it stands between -1 ({low}) and 1 ({high}).",
            scores_open_many="For every word {item}, say with a number from -1 to 1 how far it speaks for your answer.",
            topk_anchored="Which {k} words {item} are the best evidence that {claim}? Put them in order, strongest first.",
            topk_open="Which {k} words {item} had the greatest influence on your answer? Put them in order, strongest first.",
            list_anchored="Pick out every word {item} from which one can see that {claim}.",
            list_open="Pick out every word {item} that your answer rests on.",
            at_most="Choose {k} words at the most.",
            json_words="Format: a JSON list of words.",
            json_pairs="Format: a JSON list of [word, score] pairs.",
            then_answer="Below it, on a line of its own, give your answer:",
        ),
    ),
    "da": (
        Phrases(
            scores_anchored="Giv hvert ord {item} en score fra -1 til 1 efter hvor meget det viser at {claim}.",
            scores_open="Giv hvert ord {item} en score fra -1 ({low}) til 1 ({high}).",
            scores_open_many="Giv hvert ord {item} en score fra -1 til 1 efter hvor meget det støtter dit svar.",
            topk_anchored="Rangér de {k} ord {item} der bedst viser at {claim}, det bedste først.",
            topk_open="Rangér de {k} ord {item} der betyder mest for dit svar, det bedste først.",
            list_anchored="Hvilke ord {item} viser at {claim}?",
            list_open="Hvilke ord {item} afgør dit svar?",
            at_most="Returnér højst {k} ord.",
            json_words="Returnér en JSON-liste med ord.",
            json_pairs="Returnér en JSON-liste med par af [ord, score].",
            then_answer="Svar derefter på en ny linje:",
        ),
        Phrases(
            scores_anchored="Vurdér hvert ord {item} med et tal mellem -1 og 1: hvor stærkt tyder det på at {claim}?",
            scores_open="Tildel hvert ord {item} et tal fra -1 ({low}) til 1 ({high}).",
            scores_open_many="Vurdér hvert ord {item} med et tal mellem -1 og 1: hvor stærkt taler det for dit svar?",
            topk_anchored="Nævn de {k} ord {item} som tydeligst fortæller at {claim}; begynd med det tydeligste.",
            topk_open="Nævn de {k} ord {item} som dit svar afhænger mest af; begynd med det vigtigste.",
            list_anchored="Opregn de ord {item} som fortæller at {claim}.",
            list_open="Opregn de ord {item} som førte til dit svar.",
            at_most="Giv ikke flere end {k} ord.",
            json_words="Skriv dem som en JSON-liste med ord.",
            json_pairs="Skriv resultatet som en JSON-liste med par af [ord, score].",
            then_answer="Besvar derpå spørgsmålet på en ny linje:",
        ),
        Phrases(
            scores_anchored="Angiv for hvert ord {item} med et tal fra -1 til 1 i hvor høj grad det peger på at {claim}.",
            scores_open="Angiv for hvert ord {item} med et tal hvor det ligger mellem -1 ({low}) og 1 ({high}).",
            scores_open_many="Angiv for hvert ord {item} med et tal fra -1 til 1 i hvor høj grad det bakker dit svar op.",
            topk_anchored="Hvilke {k} ord {item} er det bedste bevis for at {claim}? Sæt dem i rækkefølge, det stærkeste først.",
            topk_open="Hvilke {k} ord {item} havde størst indflydelse på dit svar? Sæt dem i rækkefølge, det stærkeste først.",
            list_anchored="Udpeg hvert ord {item} hvoraf man kan se at {claim}.",
            list_open="Udpeg hvert ord {item} som dit svar bygger på.",
            at_most="Vælg {k} ord eller færre.",
            json_words="Format: en JSON-liste med ord.",
            json_pairs="Format: en JSON-liste med par af [ord, score].",
            then_answer="Giv nedenunder, på en linje for sig, dit svar:",
        ),
    ),
    "it": (
        Phrases(
            scores_anchored="Dai a ogni parola {item} un punteggio da -1 a 1 secondo quanto mostra che {claim}.",
            scores_open="Dai a ogni parola {item} un punteggio da -1 ({low}) a 1 ({high}).",
            scores_open_many="Dai a ogni parola {item} un punteggio da -1 a 1 secondo quanto sostiene la tua risposta.",
            topk_anchored="Ordina le {k} parole {item} che mostrano meglio che {claim}, la migliore per prima.",
            topk_open="Ordina le {k} parole {item} che contano di più per la tua risposta, la migliore per prima.",
            list_anchored="Quali parole {item} mostrano che {claim}?",
            list_open="Quali parole {item} decidono la tua risposta?",
            at_most="Restituisci al massimo {k} parole.",
            json_words="Restituisci una lista JSON di parole.",
            json_pairs="Restituisci una lista JSON di coppie [parola, punteggio].",
            then_answer="Poi rispondi su una nuova riga:",
        ),
        Phrases(
            scores_anchored="Valuta ogni parola {item} con un numero tra -1 e 1: con quanta forza fa capire che {claim}?",
            scores_open="Assegna a ogni parola {item} un numero da -1 ({low}) a 1 ({high}).",
            scores_open_many="Valuta ogni parola {item} con un numero tra -1 e 1: con quanta forza parla a favore della tua risposta?",
            topk_anchored="Indica le {k} parole {item} che dicono più chiaramente che {claim}; comincia dalla più chiara.",
            topk_open="Indica le {k} parole {item} da cui la tua risposta dipende di più; comincia dalla più importante.",
            list_anchored="Elenca le parole {item} che dicono che {claim}.",
            list_open="Elenca le parole {item} che ti hanno portato alla tua risposta.",
            at_most="Non dare più di {k} parole.",
            json_words="Scrivile come lista JSON di parole.",
            json_pairs="Scrivi il risultato come lista JSON di coppie [parola, punteggio].",
            then_answer="Dopo di ciò, su una nuova riga, rispondi alla domanda:",
        ),
        Phrases(
            scores_anchored="Per ogni parola {item}, di' con un numero da -1 a 1 in che misura indica che {claim}.",
            scores_open="Per ogni parola {item}, di' con un numero dove si trova tra -1 ({low}) e 1 ({high}).",
            scores_open_many="Per ogni parola {item}, di' con un numero da -1 a 1 in che misura conferma la tua risposta.",
            topk_anchored="Quali {k} parole {item} sono la prova migliore che {claim}? Mettile in ordine, la più forte per prima.",
            topk_open="Quali {k} parole {item} hanno influito di più sulla tua risposta? Mettile in ordine, la più forte per prima.",
            list_anchored="Individua ogni parola {item} da cui si vede che {claim}.",
            list_open="Individua ogni parola {item} su cui si basa la tua risposta.",
            at_most="Scegli {k} parole o meno.",
            json_words="Formato: una lista JSON di parole.",
            json_pairs="Formato: una lista JSON di coppie [parola, punteggio].",
            then_answer="Sotto, su una riga a parte, dai la tua risposta:",
        ),
    ),
    "fr": (
        Phrases(
            scores_anchored="Donne à chaque mot {item} un score de -1 à 1 selon qu'il montre que {claim}.",
            scores_open="Donne à chaque mot {item} un score de -1 ({low}) à 1 ({high}).",
            scores_open_many="Donne à chaque mot {item} un score de -1 à 1 selon qu'il soutient ta réponse.",
            topk_anchored="Classe les {k} mots {item} qui montrent le mieux que {claim}, le meilleur d'abord.",
            topk_open="Classe les {k} mots {item} qui comptent le plus pour ta réponse, le meilleur d'abord.",
            list_anchored="Quels mots {item} montrent que {claim}?",
            list_open="Quels mots {item} décident de ta réponse?",
            at_most="Renvoie au plus {k} mots.",
            json_words="Renvoie une liste JSON de mots.",
            json_pairs="Renvoie une liste JSON de paires [mot, score].",
            then_answer="Réponds ensuite sur une nouvelle ligne:",
        ),
        Phrases(
            scores_anchored="Évalue chaque mot {item} par un nombre entre -1 et 1: avec quelle force suggère-t-il que {claim}?",
            scores_open="Attribue à chaque mot {item} un nombre de -1 ({low}) à 1 ({high}).",
            scores_open_many="Évalue chaque mot {item} par un nombre entre -1 et 1: avec quelle force appuie-t-il ta réponse?",
            topk_anchored="Cite les {k} mots {item} qui disent le plus clairement que {claim}; commence par le plus clair.",
            topk_open="Cite les {k} mots {item} dont ta réponse dépend le plus; commence par le plus important.",
            list_anchored="Énumère les mots {item} qui disent que {claim}.",
            list_open="Énumère les mots {item} qui t'ont mené à ta réponse.",
            at_most="Ne donne pas plus de {k} mots.",
            json_words="Écris-les sous forme de liste JSON de mots.",
            json_pairs="Écris le résultat sous forme de liste JSON de paires [mot, score].",
            then_answer="Après cela, sur une nouvelle ligne, réponds à la question:",
        ),
        Phrases(
            scores_anchored="Pour chaque mot {item}, dis par un nombre de -1 à 1 dans quelle mesure il indique que {claim}.",
            scores_open="Pour chaque mot {item}, dis par un nombre où il se situe entre -1 ({low}) et 1 ({high}).",
            scores_open_many="Pour chaque mot {item}, dis par un nombre de -1 à 1 dans quelle mesure il confirme ta réponse.",
            topk_anchored="Quels {k} mots {item} prouvent le mieux que {claim}? Mets-les en ordre, le plus fort en premier.",
            topk_open="Quels {k} mots {item} ont le plus influencé ta réponse? Mets-les en ordre, le plus fort en premier.",
            list_anchored="Relève chaque mot {item} où l'on voit que {claim}.",
            list_open="Relève chaque mot {item} sur lequel repose ta réponse.",
            at_most="Choisis {k} mots ou moins.",
            json_words="Format: une liste JSON de mots.",
            json_pairs="Format: une liste JSON de paires [mot, score].",
            then_answer="En dessous, sur une ligne à part, donne ta réponse:",
        ),
    ),
}
WORDINGS = min(map(len, PHRASES.values()))  # how many there are to choose from


def phrases_for(language: str, paraphrase: int = 0) -> Phrases:
    """The phrases of a language, English where there are none; 0 is the wording as written, others its paraphrases.

    Raises StudyError for a paraphrase that does not exist.
    """
    if not 0 <= paraphrase < WORDINGS:
        raise StudyError(f"There is no paraphrase {paraphrase} of a request; they are numbered 1 to {WORDINGS - 1}.")
    return PHRASES.get(language, PHRASES["en"])[paraphrase]


def one_word_for(language: str) -> str:
    """The sentence that asks for an answer in one word, English where the language has none."""
    return ONE_WORD.get(language, ONE_WORD["en"])
