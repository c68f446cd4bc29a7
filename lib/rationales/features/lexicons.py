"""Hand-made word lists for French and English.

Written for this study from general knowledge of the two languages; no published lexicon was copied or consulted.
They are short: what they miss counts as not there. Entries are separated by commas, and may have several words.
Verbs in `*_regular` and adjectives in `adjectives` are inflected by rule (`forms`); all other entries stand as given.
"""

FRENCH: dict[str, str] = {
    # What the features count
    "first_person": "je, j', me, m', moi, mon, ma, mes, mien, mienne, miens, miennes, nous, notre, nos, nôtre, nôtres",
    "impersonal": "on",
    "relative": "qui, dont, où, lequel, laquelle, lesquels, lesquelles, auquel, auxquels, auxquelles, duquel, "
    "desquels, desquelles",
    "negation": "ne, n', pas, jamais, rien, aucun, aucune, ni, guère, nullement, non",
    "weekday": "lundi, mardi, mercredi, jeudi, vendredi, samedi, dimanche, lundis, mardis, mercredis, jeudis, "
    "vendredis, samedis, dimanches",
    "discourse": "mais, donc, car, or, cependant, pourtant, toutefois, néanmoins, ainsi, enfin, finalement, "
    "d'abord, ensuite, puis, bref, certes, par exemple, en effet, par ailleurs, d'ailleurs, en revanche, "
    "au contraire, en outre, de plus, par conséquent, c'est pourquoi, autrement dit, c'est-à-dire, d'une part, "
    "d'autre part, de toute façon, en fait, en somme, quant à, malgré tout, alors que, tandis que, parce que, "
    "puisque, quoique, bien que",
    "citing_regular": "affirmer, ajouter, annoncer, assurer, avancer, commenter, confier, confirmer, constater, "
    "déclarer, dénoncer, détailler, estimer, évoquer, expliquer, exposer, indiquer, insister, mentionner, noter, "
    "préciser, raconter, rapporter, rappeler, réagir, relater, révéler, signaler, souligner, témoigner",
    "citing_forms": "dire, dit, dis, dite, dites, disent, disait, disaient, disant, dira, dirait, diront, répondre, "
    "répond, répondent, répondu, répondait, soutenir, soutient, soutiennent, soutenu, conclure, conclut, "
    "poursuivre, poursuit",
    "thinking_regular": "penser, juger, douter, espérer, imaginer, supposer, trouver, souhaiter, considérer, "
    "présumer, songer, regretter, préférer, avouer",
    "thinking_forms": "croire, crois, croit, croyons, croyez, croient, croyais, croyait, croyaient, cru, savoir, "
    "sais, sait, savons, savez, savent, savais, savait, su, craindre, crains, craint, craignons, craignez, "
    "craignent, comprendre, comprends, comprend, comprenons, comprennent, compris, admettre, admets, admet, "
    "admettons, admettent, admis, vouloir, veux, veut, voulons, voulez, veulent, voudrais, voudrait",
    "time": "hier, aujourd'hui, demain, avant-hier, après-demain, récemment, bientôt, prochainement, dernièrement, "
    "naguère, jadis, désormais, dorénavant, auparavant, ce matin, ce midi, ce soir, cet après-midi, cette nuit, "
    "cette semaine, cette année, ce mois-ci, la semaine dernière, la semaine prochaine, l'an dernier, "
    "l'an prochain, l'année dernière, l'année prochaine, le mois dernier, le mois prochain, la veille, "
    "le lendemain, tout à l'heure, il y a peu",
    "positive": "admirable, admirables, agréable, agréables, aimer, aime, amour, attachant, attachante, beau, belle, "
    "beaux, belles, bien, bon, bonne, bons, bonnes, bonheur, bravo, brillant, brillante, brillants, brillantes, "
    "charmant, charmante, charme, chaleureux, chaleureuse, chance, courageux, courageuse, délicieux, délicieuse, "
    "drôle, drôles, efficace, efficaces, élégant, élégante, émouvant, émouvante, espoir, excellent, excellente, "
    "excellents, excellentes, extraordinaire, fabuleux, fabuleuse, formidable, formidables, génial, géniale, "
    "gentil, gentille, heureux, heureuse, idéal, idéale, intelligent, intelligente, intéressant, intéressante, "
    "joie, joli, jolie, joyeux, joyeuse, juste, magnifique, magnifiques, magique, meilleur, meilleure, meilleurs, "
    "meilleures, merveilleux, merveilleuse, merci, parfait, parfaite, passionnant, passionnante, plaisir, plaisant, "
    "plaisante, progrès, remarquable, remarquables, réussi, réussie, réussite, sincère, solide, splendide, "
    "succès, superbe, superbes, sympathique, tendre, utile, vif, vive, victoire",
    "negative": "absurde, absurdes, affreux, affreuse, atroce, banal, banale, catastrophe, catastrophique, colère, "
    "crise, danger, dangereux, dangereuse, déception, décevant, décevante, décevants, dégoût, désastreux, "
    "désastreuse, désolant, désolante, détestable, difficile, dommage, échec, effrayant, effrayante, ennui, "
    "ennuyeux, ennuyeuse, épouvantable, épouvantables, exécrable, fade, fades, faible, faibles, grotesque, haine, "
    "hélas, honte, honteux, honteuse, horrible, horribles, injuste, insupportable, insupportables, inutile, "
    "inutiles, lamentable, lamentables, laid, laide, lent, lente, lourd, lourde, mal, malheur, "
    "malheureux, malheureuse, mauvais, mauvaise, mauvaises, médiocre, médiocres, minable, mort, nul, nulle, nuls, "
    "nulles, peine, peur, pénible, perte, pire, plat, plate, raté, ratée, ridicule, ridicules, scandale, "
    "scandaleux, scandaleuse, sombre, stupide, stupides, terne, terrible, terribles, triste, tristes, vide, vilain, "
    "violence",
    # What the light tagger knows
    "verbs_regular": "accepter, accuser, aider, aller, appeler, apporter, approuver, arriver, arrêter, attaquer, "
    "augmenter, cacher, causer, changer, chanter, chercher, commencer, compter, consacrer, continuer, créer, décider, "
    "déposer, demander, demeurer, dépasser, désigner, développer, devancer, diminuer, donner, durer, échouer, "
    "écouter, empêcher, employer, entraîner, entrer, éviter, exiger, exister, fermer, former, gagner, garder, "
    "habiter, hésiter, ignorer, imposer, inviter, jouer, laisser, lancer, lever, manger, manquer, marcher, mener, "
    "mériter, monter, montrer, oublier, parler, participer, passer, payer, porter, poser, pousser, préparer, "
    "présenter, proposer, protéger, publier, quitter, refuser, regarder, regretter, remarquer, rencontrer, "
    "rentrer, repenser, représenter, rester, retrouver, rêver, risquer, sembler, signer, suggérer, tenter, terminer, "
    "tirer, tomber, toucher, tourner, travailler, traverser, tuer, utiliser, visiter, voter",
    "verb_forms": "ai, as, a, avons, avez, ont, avait, avaient, avais, aura, auront, aurait, auraient, aurais, ait, "
    "aient, avoir, ayant, eu, eut, suis, es, est, sommes, êtes, sont, étais, était, étaient, étions, sera, serai, "
    "seront, serait, seraient, soit, soient, fut, furent, été, être, étant, vais, vas, va, vont, irai, ira, iront, "
    "fais, fait, faisons, faites, font, faisait, faisaient, fera, feront, ferait, faire, faisant, peux, peut, "
    "pouvons, pouvez, peuvent, pouvait, pourra, pourrait, pourraient, puisse, pouvoir, pu, dois, doit, devons, devez, "
    "doivent, devait, devaient, devra, devrait, devraient, devoir, faut, fallait, faudra, faudrait, falloir, fallu, "
    "vois, voit, voyons, voient, voyait, voir, vu, viens, vient, venons, viennent, venait, viendra, venir, venu, "
    "venue, tiens, tient, tiennent, tenait, tenir, tenu, prends, prend, prenons, prennent, prenait, prendre, pris, "
    "mets, met, mettons, mettent, mettait, mettre, mis, sors, sort, sortent, sortir, sorti, pars, part, partent, "
    "partir, parti, lire, lis, lit, lisent, lu, écrire, écris, écrit, écrivent, vivre, vis, vit, vivent, vécu, "
    "suivre, suit, suivent, suivi, perdre, perd, perdent, perdu, rendre, rend, rendent, rendu, attendre, "
    "attend, attendent, attendu, entendre, entend, entendent, entendu, finir, finit, finissent, fini, choisir, "
    "choisit, choisissent, choisi, réunit, réunissent, réussit, réussir, subit, subir, ouvre, ouvrent, ouvrir, "
    "ouvert, offre, offrent, offrir, offert, reçoit, reçoivent, recevoir, reçu, déçoit, déçoivent, décevoir, déçu, "
    "connaît, connaissent, connaître, connu, paraît, paraissent, défendre, défend, défendent, atteint, atteignent, "
    "atteindre, permet, permettent, permettre, permis, produit, produire, vaut, valent, meurt, meurent, naît",
    "adjectives": "absurde, actuel, ancien, beau, blanc, bon, central, clair, complet, complexe, courageux, dernier, "
    "différent, difficile, drôle, dur, économique, énorme, entier, étrange, européen, exact, excellent, facile, faible, "
    "faux, fort, français, froid, général, grand, grave, gros, haut, heureux, humain, immense, important, impossible, "
    "inutile, jeune, joli, juste, large, léger, lent, libre, local, long, lourd, magnifique, mauvais, médiocre, "
    "meilleur, moderne, naturel, nécessaire, noir, normal, nouveau, nul, original, parfait, pauvre, petit, plein, "
    "politique, possible, premier, principal, privé, prochain, propre, public, rapide, rare, récent, remarquable, "
    "riche, ridicule, rouge, sérieux, seul, simple, social, superbe, terrible, triste, utile, vaste, vert, vide, "
    "vieux, vrai, amusant, brillant, charmant, décevant, émouvant, ennuyeux, intéressant, passionnant",
    "adjective_forms": "belle, belles, beaux, bel, blanche, blanches, bonne, bonnes, complète, complètes, douce, doux, "
    "fausse, fausses, fraîche, frais, franche, gentil, gentille, grosse, grosses, longue, longues, nouvelle, nouvelles, "
    "nouveaux, nouvel, nulle, nulles, publique, publiques, vieille, vieilles, vieil, sèche, sec",
    "not_adjectives": "animal, appel, aux, boutique, cheval, chevaux, ciel, critique, duel, elle, elles, fabrique, "
    "hôpital, hôtel, informatique, journal, journaux, laquelle, lequel, logique, logiciel, manuel, matériel, "
    "mécanique, métal, modèle, motif, musique, objectif, panique, pratique, personnel, physique, "
    "quel, quelle, quels, quelles, quelque, quelques, rappel, république, rival, sel, signal, tarif, technique, "
    "total, travaux, tribunal, tel, telle, tels, telles, table, tables, câble, cible, cibles, jeux, yeux, eux, ceux, "
    "deux, lieux, vœux, mieux, cheveux, aveux, eau, peux, veux, portable, responsable, coupable, comptable",
    "not_verbs": "hier, hiver, mer, fer, ver, cancer, leader, chez, assez, nez, rez, lait, trait, portrait, extrait, "
    "souhait, attrait, retrait, opéra, caméra, enfer, amer, super, cher, danger, panier, étranger, léger, boulanger, "
    "verger, clocher, rocher, foyer, loyer, hamster, poster, parfait, imparfait",
    "determiners": "le, la, les, l', un, une, des, du, au, aux, ce, cet, cette, ces, mon, ma, mes, ton, ta, tes, son, sa, "
    "ses, notre, nos, votre, vos, leur, leurs, de, d', quelques, plusieurs, chaque, aucun, aucune",
    "subjects": "je, j', tu, il, elle, on, nous, vous, ils, elles, qui, ne, n', se, s', me, m', te, t', y",
    "be": "suis, es, est, sommes, êtes, sont, étais, était, étaient, étions, sera, serai, seront, serait, seraient, "
    "soit, soient, fut, furent, être, étant, été",
    "have": "ai, as, a, avons, avez, ont, avait, avaient, avais, aura, auront, aurait, auraient, aurais, ait, aient, "
    "avoir, ayant",
    "participles": "fait, faite, faits, faites, dit, dite, dits, dites, mis, mise, mises, pris, prise, prises, écrit, "
    "écrite, produit, produite, détruit, détruite, construit, construite, conduit, conduite, élu, élue, élus, vu, vue, "
    "vus, vues, reçu, reçue, reçus, rendu, rendue, rendus, vendu, vendue, vendus, perdu, perdue, tenu, tenue, tenus, "
    "retenu, retenue, prévu, prévue, prévus, suspendu, suspendue, suspendus, défendu, défendue, attendu, attendue, "
    "entendu, entendue, réduit, réduite, réduits, traduit, traduite, ouvert, ouverte, ouverts, offert, offerte, "
    "couvert, couverte, permis, permise, remis, remise, soumis, soumise, compris, comprise, suivi, suivie, suivis, "
    "choisi, choisie, choisis, saisi, saisie, interdit, interdite, contraint, contrainte, atteint, atteinte, battu, "
    "battue, lu, lue, connu, connue",
    "intransitives": "allé, arrivé, resté, tombé, entré, rentré, passé, monté, né, décédé, retourné, âgé, situé",
    "adverbs": "pas, plus, jamais, très, trop, assez, bien, mal, aussi, déjà, encore, toujours, souvent, tout, donc, "
    "ainsi, été, enfin, ensuite, même, rien, peu",
}  # fmt: skip

ENGLISH: dict[str, str] = {
    "first_person": "I, me, my, mine, myself, we, us, our, ours, ourselves",
    "impersonal": "one",
    "relative": "who, whom, whose, which",
    "negation": "not, n't, no, never, nothing, nobody, none, neither, nor, nowhere, cannot, without",
    "weekday": "monday, tuesday, wednesday, thursday, friday, saturday, sunday, mondays, tuesdays, wednesdays, "
    "thursdays, fridays, saturdays, sundays",
    "discourse": "but, so, because, however, therefore, thus, hence, nevertheless, nonetheless, yet, although, though, "
    "moreover, furthermore, besides, finally, meanwhile, instead, whereas, otherwise, indeed, still, then, first of all, "
    "in fact, for example, for instance, in other words, on the other hand, on the contrary, as a result, in addition, "
    "after all, of course, in short, even though, rather than",
    "citing_regular": "add, allege, announce, argue, assert, claim, comment, confirm, declare, deny, describe, explain, "
    "indicate, insist, mention, note, observe, remark, repeat, reply, report, reveal, state, stress, testify, warn",
    "citing_forms": "say, says, said, saying, tell, tells, told, telling, according to",
    "thinking_regular": "believe, consider, doubt, expect, guess, hope, imagine, presume, regrett/regret, suppose, "
    "suspect, wish, wonder, assume, preferr/prefer",
    "thinking_forms": "think, thinks, thought, thinking, know, knows, knew, known, knowing, understand, understands, "
    "understood, feel, feels, felt, feeling, find, finds, found, finding, want, wants, wanted",
    "time": "yesterday, today, tomorrow, tonight, recently, lately, soon, nowadays, now, ago, earlier, later, "
    "this morning, this afternoon, this evening, this week, this month, this year, last night, last week, last month, "
    "last year, next week, next month, next year, the day before, the day after, so far",
    "positive": "admirable, amazing, amusing, attractive, beautiful, best, better, brilliant, charming, clever, "
    "comfortable, compelling, convincing, courageous, delicious, delight, delightful, effective, elegant, engaging, "
    "enjoy, enjoyable, enjoyed, entertaining, excellent, exciting, extraordinary, fabulous, fantastic, fascinating, "
    "fine, fresh, friendly, fun, funny, generous, genius, glad, good, gorgeous, graceful, great, happy, hilarious, "
    "hope, impressive, intelligent, interesting, joy, lively, love, loved, lovely, magic, magnificent, "
    "marvellous, masterpiece, memorable, moving, nice, original, outstanding, perfect, pleasant, pleasure, powerful, "
    "praise, remarkable, rich, safe, satisfying, smart, solid, splendid, strong, stunning, success, successful, superb, "
    "sweet, tender, terrific, thrilling, touching, useful, warm, welcome, well, wise, witty, wonderful",
    "negative": "abysmal, angry, annoying, appalling, atrocious, awful, awkward, bad, badly, bland, bore, bored, boring, "
    "broken, cheap, clumsy, cold, confused, confusing, crisis, cruel, danger, dangerous, dead, depressing, difficult, "
    "disappointing, disappointment, disaster, disastrous, disgusting, dreadful, dreary, dull, dumb, empty, evil, fail, "
    "failed, fails, failure, false, fear, flat, foolish, hate, hopeless, horrible, horrid, inept, lack, lame, lazy, "
    "lifeless, mediocre, mess, miserable, nasty, pain, painful, pathetic, pointless, poor, poorly, predictable, "
    "pretentious, problem, ridiculous, rude, sad, shallow, silly, slow, stale, stupid, tedious, terrible, tired, "
    "tiresome, trite, ugly, unbearable, unfortunately, unfunny, useless, violent, waste, weak, worse, worst, wrong",
    "verbs_regular": "accept, act, allow, appear, ask, attack, avoid, call, care, carry, change, close, continue, create, "
    "decide, deserve, die, discover, end, enjoy, examine, fail, follow, happen, hate, help, involve, join, kill, know, "
    "last, learn, like, listen, live, look, love, manage, miss, move, need, offer, open, pass, play, prove, provide, "
    "reach, receive, remain, remember, require, return, save, seem, serve, share, show, stay, start, stopp/stop, suffer, "
    "suggest, support, talk, try, turn, use, visit, vote, wait, walk, want, watch, work",
    "verb_forms": "am, is, are, was, were, be, been, being, 'm, 're, 've, 'll, have, has, had, having, do, does, did, doing, "
    "done, can, ca, could, may, might, must, shall, should, will, wo, would, cannot, go, goes, went, gone, going, get, "
    "gets, got, getting, make, makes, made, making, take, takes, took, taken, taking, give, gives, gave, given, giving, "
    "come, comes, came, coming, see, sees, saw, seen, seeing, keep, keeps, kept, let, lets, put, puts, run, runs, ran, "
    "bring, brings, brought, buy, bought, become, becomes, became, begin, begins, began, begun, leave, leaves, left, "
    "lose, loses, lost, meet, meets, met, pay, pays, paid, read, reads, rise, rises, rose, sell, sells, sold, send, "
    "sent, sit, sits, sat, speak, speaks, spoke, stand, stands, stood, win, wins, won, write, writes, wrote, written, "
    "fall, falls, fell, build, built, hold, holds, held, hear, heard, lead, leads, led, mean, means, meant, grow, grew, "
    "spend, spent, break, broke, draw, drew, eat, ate, sing, sang, teach, taught",
    "adjectives": "able, angry, awful, bad, beautiful, best, better, big, black, bland, blue, boring, brief, bright, "
    "brilliant, broad, certain, cheap, clear, clever, clumsy, cold, common, dark, dead, decent, deep, different, "
    "difficult, dry, dull, early, easy, entire, excellent, fair, false, famous, far, fine, flat, free, fresh, full, "
    "funny, good, great, green, happy, hard, heavy, high, hot, huge, important, interesting, large, last, late, lively, "
    "local, long, lovely, low, major, modern, narrow, national, new, next, nice, odd, old, open, own, perfect, plain, "
    "pleasant, poor, possible, private, proud, public, quick, quiet, rare, ready, real, recent, red, rich, right, sad, "
    "safe, serious, shallow, sharp, short, silly, simple, single, slow, small, soft, special, stale, strange, strong, "
    "stunning, sure, sweet, tall, tame, tender, thin, tired, true, ugly, warm, weak, white, whole, wide, wild, worse, "
    "worst, wrong, young",
    "not_adjectives": "animal, animals, approval, arrival, capital, carnival, clinic, comic, critic, deal, fabric, "
    "festival, funeral, goal, hospital, journal, logic, magic, manual, material, meal, metal, music, panic, parish, "
    "pedal, picnic, proposal, refusal, rival, signal, table, topic, traffic, trial, vegetable, fish, wish, "
    "dish, finish, publish, punish, vanish, unless, detective, executive, archive, motive, native, relative, initiative, "
    "alternative, perspective, forgive, arrive, survive, drive, receive, believe, dive, olive, english, danish",
    "not_verbs": "morning, evening, ending, king, thing, nothing, something, anything, everything, ring, spring, string, "
    "wing, ceiling, feeling, building, wedding, red, bed, seed, need, speed, hundred, naked, sacred, wicked, indeed, "
    "during, interesting, boring, stunning, charming, moving, amazing, exciting, disappointing, size, prize",
    "determiners": "the, a, an, this, that, these, those, my, your, his, her, its, our, their, some, any, every, each, no",
    "subjects": "i, you, he, she, it, we, they, who, to, not, n't",
    "be": "am, is, are, was, were, be, been, being, 'm, 're, get, gets, got",
    "have": "have, has, had, having, 've",
    "participles": "made, done, seen, taken, given, known, written, told, said, found, held, kept, left, lost, paid, sent, "
    "sold, shot, built, bought, brought, caught, chosen, drawn, driven, forgotten, hidden, hit, led, put, read, shown, "
    "spoken, spent, stolen, taught, thought, thrown, torn, understood, won, worn, born, broken, begun, eaten",
    "intransitives": "tired, interested, bored, red, used, supposed, married, excited, pleased, aged, indeed, need, seed",
    "adverbs": "not, n't, never, ever, also, often, still, already, just, always, well, badly, so, very, being, been, too",
}  # fmt: skip

WORD_LISTS = {"fr": FRENCH, "en": ENGLISH}
