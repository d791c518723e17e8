"""Leads with known accounts, for the typical errors of lead-to-account matching.

A lead is wrong if it gets another account than its own, or none although it has one. Candidates for a person are not
wrong and are counted separately.
"""

# ruff: noqa: RUF001 - names in Greek and Cyrillic letters

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle, islice

from nurture.domain.routing.account import Account, AccountKind
from nurture.journey.ownership.match.index import AccountIndex, IndexedAccount

FREE = ("gmail.com", "gmx.de", "hotmail.fr", "outlook.com", "qq.com", "yahoo.co.uk", "web.de", "mail.ru")
OWNERS = ("ada", "ben", "cleo", "dan", "eva")

# Names of companies, and how people write them. All are fictitious.
COMPANIES: dict[str, tuple[str, ...]] = {
    "Larkfield Systems GmbH": (
        "larkfield systems",
        "Larkfield Systems gmbh.",
        "LARKFIELD SYSTEMS",
        "Larkfield-Systems",
    ),
    "Brückner & Söhne Maschinenbau GmbH & Co. KG": ("Brueckner und Soehne Maschinenbau", "Brückner&Söhne Maschinenbau"),
    "Société Valmontaise de Mécanique S.A.": ("Societe Valmontaise Mecanique", "SOCIÉTÉ VALMONTAISE DE MÉCANIQUE SAS"),
    "Officine Bellandi S.p.A.": ("officine bellandi spa", "Officine Bellandi S.P.A", "Officine Bellandi srl"),
    "Hrafnkell Fisk A/S": ("Hrafnkell Fisk AS", "hrafnkell fisk"),
    "Wójcik Metale Sp. z o.o.": ("Wojcik Metale Sp.z o.o.", "Wójcik Metale", "WOJCIK METALE SP ZOO"),
    "Aguilar y Montes Logística, S.L.": ("Aguilar & Montes Logistica SL", "Aguilar Montes Logística"),
    "O'Dwyer Packaging Ltd.": ("ODwyer Packaging Limited", "O’Dwyer Packaging", "O Dwyer Packaging Ltd"),
    "Jörgensen Møbler ApS": ("Joergensen Mobler", "Jørgensen Møbler ApS", "Jorgensen Møbler"),
    "Ромашка-Сервис ООО": ("ООО Ромашка-Сервис", "Romashka Servis OOO"),
    "Θάλασσα Ναυτιλιακή Α.Ε.": ("Thalassa Naftiliaki AE", "Thalassa Naytiliaki"),
    "Quillfeather Publishing, Inc.": ("Quillfeather Publishing Inc", "The Quillfeather Publishing Company"),
    "Van der Heyden Staal B.V.": ("van der Heyden Staal BV", "Heyden Staal"),
    "Tamarack Ridge Foods LLC": ("Tamarack Ridge Foods", "TAMARACK RIDGE FOODS L.L.C."),
    "Pemberley Instruments plc": ("Pemberley Instruments PLC", "Pemberley Instruments"),
    "Kőszegi Gépgyár Kft.": ("Koszegi Gepgyar", "Kőszegi Gépgyár KFT"),
    "Şahinkaya Tekstil A.Ş.": ("Sahinkaya Tekstil AS", "Şahinkaya Tekstil Anonim Şirketi"),
    "Novotný Strojírny s.r.o.": ("Novotny Strojirny sro", "Novotný strojírny, spol. s r.o."),
    "Oy Saaristo Venheet Ab": ("Saaristo Venheet Oy", "Saaristo Venheet"),
    "Moreira & Falcão Vinhos Lda": ("Moreira e Falcao Vinhos", "Moreira Falcão Vinhos, Lda."),
    "Grevillea Mining Pty Ltd": ("Grevillea Mining", "Grevillea Mining Pty. Limited"),
    "Chakrabarti Textiles Pvt. Ltd.": ("Chakrabarti Textiles Private Limited", "Chakrabarti Textiles"),
    "Ashcombe & Thistlewood LLP": ("Ashcombe and Thistlewood", "Ashcombe Thistlewood LLP"),
    "Zürcher Uhrenmanufaktur AG": ("Zuercher Uhrenmanufaktur", "Zürcher Uhrenmanufaktur Ltd"),
    "Delacroix-Fontaine Parfums SARL": ("Delacroix Fontaine Parfums", "Delacroix-Fontaine Parfums S.A.R.L."),
}
SHORT = ("Apex Ltd", "Delta GmbH", "Nova S.A.", "Orion Inc.", "ABC Corp", "Summit LLC", "Atlas AG", "Vertex B.V.")
GROUPS = ("Fabrikant", "Montclair Energie", "Silverthorne", "Katajisto", "Obermaier")
ALIKE = (
    ("Northwind Traders Ltd", "Northwood Traders Ltd"),
    ("Greenmeadow Dairy plc", "Greenmeadows Dairies Ltd"),
    ("Halverson Foods Inc", "Halverson Goods Inc"),
    ("Kessler Antriebstechnik GmbH", "Kessler Abtriebstechnik GmbH"),
    ("Blackwater Shipping", "Blackwaters Shipping Co"),
)
INITIALS = (("International Harvesting Machines Inc.", "IHM"), ("Rheinische Wasserwerke AG", "RWW"))


@dataclass(frozen=True)
class LabeledLead:
    """A lead with the id of its account, None for none."""

    trap: str
    email: str
    company: str
    truth: int | None
    website: str = ""


@dataclass
class LabeledSet:
    """Accounts and leads, in arbitrary order."""

    known: list[IndexedAccount] = field(default_factory=list)
    leads: list[LabeledLead] = field(default_factory=list)

    def account(self, name: str, *domains: str, parent: int | None = None) -> int:
        number = len(self.known) + 1
        owner = OWNERS[number % len(OWNERS)]
        kind = list(AccountKind)[number % 3]
        self.known.append(IndexedAccount(Account(number, owner, kind, domains), name, parent))
        return number

    def lead(self, trap: str, email: str, company: str, truth: int | None, website: str = "") -> None:
        self.leads.append(LabeledLead(trap, email, company, truth, website))


@dataclass(frozen=True)
class Score:
    """The results for the labeled leads, in total and by trap."""

    leads: int
    wrong: list[LabeledLead]
    unsure: Counter[str]
    right: Counter[str]

    @property
    def wrong_percent(self) -> float:
        return 100 * len(self.wrong) / self.leads

    @property
    def unsure_percent(self) -> float:
        return 100 * self.unsure.total() / self.leads


def slug(name: str) -> str:
    kept = "".join(letter for letter in name.lower() if letter.isascii() and letter.isalnum())
    return kept[:14] or "firma"


def labeled_set(others: int = 10_000) -> LabeledSet:
    """Return the set; *others* is the number of additional accounts that have no leads."""
    found = LabeledSet()
    free = cycle(FREE)
    for number, (name, spellings) in enumerate(COMPANIES.items()):
        domain = f"{slug(name)}{number}.example"
        own = found.account(name, domain)
        for spelling in (name, *spellings, name.upper(), "", "see signature"):
            found.lead("own address", f"lead@{domain}", spelling, own)
            found.lead("own address, deeper", f"lead@eu.mail.{domain}", spelling, own)
        for spelling in (name, *spellings, name.upper()):
            found.lead("free mail", f"lead{number}@{next(free)}", spelling, own)
            found.lead("website only", f"lead{number}@{next(free)}", spelling, own, f"https://www.{domain}/about")
        found.lead("same domain, other ending", f"lead@{slug(name)}{number}.test", spellings[0], own)
        found.lead("a slip in the name", f"lead{number}@{next(free)}", _slip(name), own)
        if number % 5 == 0:  # known by a brand name, which cannot be matched
            found.lead("brand", f"lead{number}@{next(free)}", f"Planwerk {number}", own)
        found.lead("namesake elsewhere", f"lead@other{number}.example", spellings[0], None)
    for name in SHORT:
        own = found.account(name, f"{slug(name)}.example")
        found.lead("short name, own address", f"lead@{slug(name)}.example", name, own)
        found.lead("short name, namesake", f"lead@{next(free)}", name.split()[0], None)
        found.lead("short name, namesake with a domain", f"lead@{slug(name)}tools.example", name, None)
    for name in GROUPS:
        _group(found, name, free_mail=next(free))
    for ours, theirs in ALIKE:
        own = found.account(ours, f"{slug(ours)}.example")
        found.lead("alike, own address", f"lead@{slug(ours)}.example", ours, own)
        found.lead("alike, another company", f"lead@{slug(theirs)}.example", theirs, None)
        found.lead("alike, another company, free mail", f"lead@{next(free)}", theirs, None)
    for name, initials in INITIALS:
        own = found.account(name, f"{slug(name)}.example")
        found.lead("initials, own address", f"lead@{slug(name)}.example", initials, own)
        found.lead("initials, free mail", f"lead@{next(free)}", initials, own)
    for number, name in enumerate(_others(100)):
        found.lead("stranger", f"lead@stranger{number}.example", f"{name} of Elsewhere", None)
        found.lead("nobody known", f"someone{number}@{next(free)}", "", None)
        found.lead("stranger, free mail", f"other{number}@{next(free)}", f"Strandgut {name} {number}", None)
    for number, name in enumerate(_others(others)):
        found.account(name, f"filler{number}.example")
    return found


def _group(found: LabeledSet, name: str, free_mail: str) -> None:
    """Add a parent and two subsidiaries: one with its own domain, one that shares the parent's."""
    top = f"{slug(name)}-group.example"
    parent = found.account(f"{name} Holding AG", top)
    german = found.account(f"{name} Deutschland GmbH", f"{slug(name)}-de.example", parent=parent)
    french = found.account(f"{name} France SAS", top, parent=parent)
    found.lead("group, a daughter's domain", f"lead@{slug(name)}-de.example", name, german)
    found.lead("group, shared domain, daughter named", f"lead@{top}", f"{name} France", french)
    found.lead("group, shared domain, parent named", f"lead@{top}", f"{name} Holding", parent)
    found.lead("group, shared domain, nobody named", f"lead@{top}", "", parent)
    found.lead("group, free mail, daughter named", f"lead@{free_mail}", f"{name} (Deutschland) GmbH", german)
    found.lead("group, free mail, bare name", f"lead@{free_mail}", name, parent)
    found.lead("group, a daughter that is no account", f"lead@{free_mail}", f"{name} Italia Srl", parent)


def _slip(name: str) -> str:
    """Swap two letters in the middle of the longest word."""
    longest = max(name.split(), key=len)
    middle = len(longest) // 2
    slipped = longest[: middle - 1] + longest[middle] + longest[middle - 1] + longest[middle + 1 :]
    return name.replace(longest, slipped)


def _words(listed: str) -> list[str]:
    return listed.split()


_FIRST = _words("""
    Alder Birch Cedar Dune Ember Fjord Gale Harbor Iris Juniper Kestrel Linden Maple Nettle Otter Poplar
    Quartz Raven Sable Thorn Umber Violet Willow Yarrow Zephyr Amber Basalt Cobalt Drift Elm
""")
_SECOND = _words("""
    brook dale field ford gate ham hill holt hurst lake land leigh mere mill moor point port ridge shaw side
    stead stone ton vale view ville water well wick wood worth yard
""")
_THIRD = _words("Foods Logistics Instruments Chemicals Textiles Software Metals Energy Packaging Tools")
_FORMS = _words("GmbH Ltd Inc. S.A. B.V. AB S.p.A. Oy LLC AG")


def _others(count: int) -> list[str]:
    names = (
        f"{first}{second} {third} {form}"
        for form, third in zip(cycle(_FORMS), _THIRD * 4, strict=False)
        for first in _FIRST
        for second in _SECOND
    )
    return list(islice(names, count))


def score(found: LabeledSet) -> Score:
    """Match every lead, and compare the result with the known account."""
    index = AccountIndex(found.known)
    wrong: list[LabeledLead] = []
    unsure, right = Counter[str](), Counter[str]()
    for lead in found.leads:
        match = index.match(lead.email, lead.company, lead.website)
        if match.is_ambiguous:
            unsure[lead.trap] += 1
        elif (match.account.id if match.account is not None else None) == lead.truth:
            right[lead.trap] += 1
        else:
            wrong.append(lead)
    return Score(len(found.leads), wrong, unsure, right)
