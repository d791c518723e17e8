"""Words in company names that do not distinguish companies, all folded by `fold_letters`."""

from __future__ import annotations

from typing import Final


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


def _phrases(listed: str) -> frozenset[str]:
    return frozenset(" ".join(one.split()) for line in listed.splitlines() for one in line.split("|")) - {""}


LEGAL_FORMS: Final = _phrases("""
    gmbh|ggmbh|mbh|gesmbh|gmbh co|gmbh co kg|gmbh co ohg|gmbh co kgaa|ug|ug haftungsbeschrankt|ag|ag co kg|kg
    kgaa|ohg|gbr|ek|ekfm|ekfr|ev|eg|egen|se|se co kg|se co kgaa|stiftung|inc|incorporated|corp|corporation|co
    company|cie|compagnie|ltd|limited|co ltd|company limited|ltd co|llc|llp|lllp|lp|pllc|pc|pa|plc|cic|uk ltd
    sa|s a|sas|sasu|sarl|eurl|sci|scop|snc|sca|scp|gie|spa|srl|srls|sapa|sas di|soc coop|scarl|scrl|sprl|asbl
    bv|nv|vof|cv|cvba|bvba|maatschap|ab|ab publ|publ|hb|kb|as|asa|ans|da|aps|ivs|ks|ps|is|oy|oyj|ky|tmi|ehf|hf
    sl|slu|slne|sau|sll|scoop|sociedad limitada|sociedad anonima|lda|ltda|eireli|mei|sapi de cv|sa de cv
    sab de cv|srl de cv|sab|sociedade anonima|sro|spol sro|spol|zs|vos|doo|dd|jdoo|ad|ead|ood|eood|et|kft|zrt
    nyrt|bt|kkt|rt|sp zoo|spzoo|sp zoo sp k|sp zoo spk|sp j|spj|sp k|spk|sp p|ska|spolka akcyjna|ou|uab|mb|sia
    pty|pty ltd|proprietary limited|pvt|pvt ltd|private limited|pte|pte ltd|sdn bhd|bhd|tbk|kk|gk|yk|kabushiki
    kaisha|kabushiki kaisha|godo kaisha|jsc|ojsc|cjsc|pjsc|ooo|oao|zao|pao|ao|too|tov|tzov|prat|pat|at|ie
    ae|epe|ike|monoprosopi epe|ltee|ltd ltee|ulc|senc|wll|fze|fzco|fz llc|fzllc|dmcc|pjs|saoc|saog|psc|bsc
    anonim sirketi|as ve tic|ltd sti|san ve tic as|sti|sirketi|pt|joint stock company|jont stock co|sa nv
    nv sa|gmbh cokg|aktiengesellschaft|gesellschaft mbh|kommanditgesellschaft|naamloze vennootschap
    aktiebolag|aktieselskab|anpartsselskab|osakeyhtio|besloten vennootschap|societe anonyme|sp zoo sk
    sp zo o|cokg
""")
"""Legal forms at the end of names; initials are one word, characters such as `&` are omitted."""

PREFIXES: Final = _words("""
    the ab die das firma fa ooo oao zao pao ao too tov pt sc cv ets etablissements sas
""")
"""Words and legal forms at the beginning of names."""

CONJUNCTIONS: Final = _words("""
    and und et y e i en og och ja de la le les des du der di del della van von
""")
"""Joining words that some spellings leave out."""

GENERIC_WORDS: Final = _words("""
    group gruppe groupe gruppo grupo holding holdings international intl global worldwide services service
    solutions solution systems system technologies technology tech consulting partners partner associates
    industries industry enterprises enterprise trading logistics media digital software data energy
    capital management marketing design studio labs lab works werke medical health care foods food sales
    vertrieb engineering construction bau maschinenbau automotive electronics telecom bank insurance
    finance
""")
"""Words in the names of many companies."""

COUNTRY_WORDS: Final = _words("""
    deutschland germany osterreich austria schweiz suisse svizzera switzerland france italia italy espana
    spain portugal uk britain ireland nederland netherlands belgium belgie belgique luxembourg danmark
    denmark sverige sweden norge norway suomi finland polska poland cesko czech hungary magyarorszag
    romania bulgaria turkey turkiye usa us america americas canada mexico brasil brazil argentina india
    china japan korea singapore australia europe europa emea apac dach iberia nordic nordics benelux asia
    pacific africa international intl global worldwide group gruppe groupe gruppo grupo holding holdings
""")
"""Words in which the companies of a group differ: country, or a word such as holding."""
