"""Recognize opt-outs such as "stop" and "take me off your list" in several languages."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_MAX_WORDS: Final = 25

_GREETING: Final = re.compile(
    r"(?:hi|hello|hey|dear|good (?:morning|afternoon|day)|hallo|guten (?:tag|morgen)"
    r"|sehr geehrte\w{0,2}|liebe\w{0,2}|moin|"
    r"bonjour|madame|monsieur|hola|buenos d[ií]as|buenas(?: tardes)?|estimad\w{1,3}|buongiorno|ciao"
    r"|salve|ol[áa]|"
    r"bom dia|beste|geachte)\b[^\n,.!]{0,50}+[,.!]?[ \t\r]{0,50}+(?:\n|\Z)",
    re.IGNORECASE,
)
_CLOSING: Final = re.compile(
    r"\n[ \t]{0,50}+(?:(?:(?:kind |best |warm )?regards|best|cheers|thanks|thank you|many thanks|sincerely|"
    r"mit (?:freundlichen|besten) gr[üu](?:ß|ss)en|(?:viele|beste|liebe|freundliche) gr[üu](?:ß"
    r"|ss)e|mfg|danke|vg|lg|"
    r"cordialement|bien à vous|merci(?: d'avance)?|"
    r"(?:un )?saludos?(?: cordial(?:es)?)?|atentamente|gracias|cordiali saluti|distinti saluti"
    r"|grazie|saluti|"
    r"met vriendelijke groet(?:en)?|bedankt|atenciosamente|obrigad[oa])\b[^\n]{0,40}+"
    r"|(?:yours\b|salutations)[^\n]*+)(?:\n|\Z)",
    re.IGNORECASE,
)

_LIST_PHRASE: Final = (
    r"(?: (?:from|off)(?: of)?(?: (?:your|this|the|these|all|any))?"
    r"(?: (?:mailing|email|e mail|mail|distribution|contact|marketing|newsletter))?"
    r"(?: (?:list|lists|emails?|e mails?|mails?|mailings?|database|newsletters?|system))?)?"
)
_MAIL_WORDS: Final = r"(?:e mails?|emails?|mails?|messages?|newsletters?|spam|this|these|it)"
_PHRASES: Final = (
    # English
    r"stop(?: it| this| now)?",
    r"(?:un ?subscribe|opt out|opt me out|de ?register)(?: me)?" + _LIST_PHRASE,
    r"(?:remove|delete|take|drop) (?:me|us|my (?:e ?mail|address|email address|data|details|name))" + _LIST_PHRASE,
    (
        r"stop (?:e mailing|emailing|mailing|contacting|messaging|spamming|bothering"
        r"|writing(?: to)?)(?: to)? (?:me|us)|stop (?:e mailing|emailing|mailing|messaging|spamming|writing)"
    ),
    (
        r"stop sending(?: (?:me|us))?(?: (?:any|these|your|those|more|such|further|any more)\b)*+"
        rf" ?{_MAIL_WORDS}?"
    ),
    rf"no (?:more|further) {_MAIL_WORDS}",
    r"(?:just )?leave (?:me|us) (?:alone|in peace|be)",
    (
        r"(?:i|we) (?:do not|don t|dont|no longer) (?:want|wish)(?: to (?:get|receive|have))?"
        r"(?: to (?:hear from (?:you|your company)|be contacted)"
        r"|(?: (?:any|more|such|these|further|your)\b)*+ (?:e ?mails?|mails|messages|newsletters?|spam))"
        r"(?: from (?:you|your company))?(?: again| any ?more)?"
    ),
    (
        r"(?:do not|don t|dont|never) (?:contact|e mail|email|mail|write(?: to)?|message"
        r"|send)(?: to)? (?:me|us)"
        rf"(?: (?:any|more|such|these|further)\b)*+ ?{_MAIL_WORDS}?(?: again| any ?more)?"
    ),
    r"i (?:want|wish|would like|d like) to (?:un ?subscribe|opt out|be (?:removed|taken off|unsubscribed))"
    + _LIST_PHRASE,
    r"(?:can|could|would|will) you (?:un ?subscribe|remove|take|delete) (?:me|us)" + _LIST_PHRASE,
    # German
    (
        r"(?:abmelden|abmeldung|abbestellen|austragen|stopp|entfernen|löschen|newsletter (?:abmelden"
        r"|abbestellen))"
    ),
    (
        r"(?:nehmen|streichen|entfernen|löschen|tragen|melden|nimm|streich|entferne|lösche|trag|melde)"
        r"(?: sie)? (?:mich|uns|meine(?: e ?mail)? ?(?:adresse|daten))"
        r"(?: (?:aus|von|vom|im))?(?: (?:ihrem|ihrer|ihren|dem|der|diesem|dieser|eurem|eurer|deinem"
        r"|deiner|allen))?"
        r"(?: (?:verteiler|e ?mail ?verteiler|liste|mailingliste|newsletter|datenbank))?"
        r"(?: (?:ab|aus|heraus|raus|streichen|löschen|entfernen|nehmen))?"
    ),
    (
        r"(?:senden|schicken|schreiben)(?: sie)? (?:mir|uns)(?: bitte)? (?:keine|nichts|nicht)"
        r"(?: weiteren?)?(?: (?:e ?mails?|mails?|nachrichten|werbung|newsletter))?(?: mehr)?(?: zu)?"
    ),
    r"keine (?:weiteren? )?(?:e ?mails?|mails?|werbung|newsletter|nachrichten)(?: mehr)?",
    (
        r"ich (?:möchte|will) (?:keine|nichts)(?: weiteren?)?(?: (?:e ?mails?|mails?|werbung|newsletter))?"
        r"(?: von ihnen)?(?: mehr)?(?: (?:erhalten|bekommen))?"
    ),
    r"(?:lassen|lass|lasst)(?: sie)? (?:mich|uns)(?: (?:bitte|endlich|einfach))*+ in (?:ruhe|frieden)",
    r"ich (?:möchte|will) mich (?:abmelden|austragen)|mich (?:abmelden|austragen)",
    r"(?:how|where) (?:do|can|may|to) ?(?:i|we)? ?(?:un ?subscribe|opt out)" + _LIST_PHRASE,
    # French
    (
        r"(?:désinscription|désabonnement|désinscrire|désabonner|désinscrivez moi|désabonnez moi"
        r"|me désinscrire|"
        r"me désabonner|arrêtez|arrêter)"
    ),
    (
        r"(?:retirez|supprimez|enlevez|rayez|effacez|désinscrivez|désabonnez) (?:moi|nous"
        r"|mon adresse|mes données)"
        r"(?: de (?:votre|vos|la|cette))?(?: (?:liste|listes|newsletter|fichiers?|base(?: de données)?))?"
        r"(?: (?:de diffusion|d envoi|d adresses))?"
    ),
    (
        r"(?:merci )?de (?:me|nous) (?:désinscrire|désabonner|retirer|supprimer|désabonner)"
        r"(?: de (?:votre|vos|la|cette))?(?: (?:liste|listes|newsletter))?(?: de diffusion)?"
    ),
    r"laissez (?:moi|nous)(?: en paix| tranquilles?)",
    r"déjen?(?:me|nos) en paz|lasci(?:ate|a)(?:mi|ci) in pace",
    r"laat (?:me|mij|ons) met rust|deixem? (?:me|nos) em paz",
    (
        r"(?:de )?ne (?:plus|pas) (?:me|nous) (?:contacter|écrire|envoyer|solliciter)(?: (?:de "
        r"|d )?(?:e ?mails?|mails?|messages?))?"
    ),
    r"ne (?:m|nous) ?(?:écrivez|envoyez|contactez) plus(?: (?:de |d )?(?:e ?mails?|mails?|messages?))?",
    (
        r"je (?:ne )?(?:souhaite|veux) (?:me désinscrire|me désabonner|plus recevoir (?:vos|de|d"
        r"|ces) ?(?:e ?mails?|mails?|messages?|newsletters?))"
    ),
    # Spanish
    r"(?:baja|alto|cancelar(?: (?:la )?suscripción)?|darme de baja|dar(?:me)? de baja|desuscribir(?:me)?)",
    r"(?:denme|deme|dame) de baja(?: (?:de|en) (?:su|la|esta) lista)?",
    r"(?:quiero|deseo|quisiera) (?:darme de baja|cancelar (?:la|mi) suscripción)",
    (
        r"(?:elimínen?me|elimíname|quítenme|bórrenme|bórreme)(?: de (?:su|la|esta) (?:lista"
        r"|base de datos))?(?: de correos?)?"
    ),
    (
        r"no (?:me|nos) (?:envíen?|escriban?|contacten?|manden?)(?: más)?(?: (?:correos?|mensajes?"
        r"|e ?mails?))?(?: más)?"
    ),
    r"no (?:quiero|deseo) (?:recibir )?más (?:correos?|mensajes?|e ?mails?)",
    # Italian, Dutch, Portuguese
    (
        r"(?:cancellami|cancellatemi|disiscrivimi|disiscrivetemi|cancellazione|rimuovetemi|rimuovimi)"
        r"(?: dalla (?:vostra )?(?:lista|mailing list|newsletter))?"
    ),
    r"non (?:scrivetemi|inviatemi|contattatemi) più(?: (?:e ?mail|mail|messaggi))?",
    (
        r"(?:afmelden|uitschrijven|schrijf (?:mij|me) uit|meld (?:mij|me) af|geen (?:e ?mails?"
        r"|mails?) meer|"
        r"verwijder (?:mij|me)(?: (?:uit|van) (?:uw|de|deze|jullie) (?:lijst|mailinglijst|bestand))?)"
    ),
    (
        r"(?:cancelar (?:a )?(?:inscrição|subscrição)|descadastrar|remov[ae] me|remover|sair da lista|"
        r"não (?:me )?(?:enviem?|escrevam?|contactem?)(?: mais)?(?: (?:e ?mails?|mensagens))?)"
    ),
)
_POLITE_WORDS: Final = (
    r"(?:please|pls|kindly|can you|could you|would you|will you|veuillez|prière de|thanks|thank you"
    r"|many thanks|now|immediately|at once|asap|again|any ?more|altogether|"
    r"right away|bitte|danke|sofort|umgehend|dringend|merci|s il vous plaît|svp|immédiatement"
    r"|por favor|gracias|"
    r"inmediatamente|per favore|grazie|subito|alstublieft|graag|bedankt|por gentileza|obrigad[oa]"
    r"|and|und|et|y)"
)
_ANY_PHRASE: Final = "|".join(_PHRASES)


@cache
def _opt_out() -> re.Pattern[str]:
    """Return what a whole text that says "no more mail" matches; building it takes a twentieth of a second."""
    return re.compile(
        rf"\A(?:{_POLITE_WORDS} )*+(?:{_ANY_PHRASE})(?: {_POLITE_WORDS}\b)*+"
        rf"(?: (?:{_ANY_PHRASE}))?(?: {_POLITE_WORDS}\b)*+"
    )


_OPT_OUT_SUBJECT: Final = re.compile(
    r"(?:un ?subscribe|stop|opt out|remove(?: me)?|abmelden|abbestellen|abmeldung|désinscription"
    r"|désabonnement|baja|"
    r"cancellazione|afmelden|uitschrijven)"
)
_STANDALONE_WORD: Final = re.compile(r"stop(?: \w++)?|alto|baja|remover?|cancelar")
"""Words that are an opt-out as a whole text but not as a clause of a sentence."""

_CLAUSE_BREAK: Final = re.compile(
    r"[.!?,;:\n\u2013\u2014]++|\s-++\s|\b(?:or|but|otherwise|oder|sonst|aber|ou|sinon|mais|o|pero)\b"
)
_MAX_CLAUSES: Final = 3


def is_opt_out(text: str, subject: str = "") -> bool:
    """Return whether the text begins with an opt-out, or the subject is only an opt-out.

    *text* is the person's own text above the quotation. A subject such as "Re: ..." is ours and never matches.
    """
    if _OPT_OUT_SUBJECT.fullmatch(_normalize(subject)):
        return True
    plain = text.strip()[:1_000]
    plain = _GREETING.sub("", plain, count=1).lstrip()
    closing = _CLOSING.search(f"\n{plain}") if "\n" in plain else None
    body = f"\n{plain}"[: closing.start()] if closing is not None else plain
    # Text after an empty line may be a signature without a delimiter.
    first_paragraph, *_ = re.split(r"\n[^\S\n]*+\n", plain, maxsplit=1)
    if _matches_opt_out(body) or _matches_opt_out(first_paragraph):
        return True
    clauses = [clause for clause in _CLAUSE_BREAK.split(plain.casefold()) if _normalize(clause)][:_MAX_CLAUSES]
    return any(_matches_opt_out(one) and not _STANDALONE_WORD.fullmatch(_normalize(one)) for one in clauses)


def _matches_opt_out(text: str) -> bool:
    normalized = _normalize(text)
    return 0 < len(normalized.split()) <= _MAX_WORDS and _opt_out().fullmatch(normalized) is not None


def _normalize(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()
