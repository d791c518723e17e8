"""Map the column names of known systems to our fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

FIELDS: Final = (
    "external_id",
    "email",
    "first_name",
    "last_name",
    "full_name",
    "title",
    "company",
    "website",
    "industry",
    "employees",
    "phone",
    "country",
    "region",
    "city",
    "postcode",
    "zone",
    "owner",
    "status",
    "customer",
    "created_at",
    "source",
    "lead_source",
    "landing_page",
    "purchase_timeframe",
    "budget",
    "authority",
    "need",
    "consent_basis",
    "consent_source",
    "consent_at",
    "opted_out",
    "deleted",
    "registered_at",
    "attended",
    "minutes_attended",
    "questions",
    "polls",
    "interest",
    "demo_requested",
)
"""The fields that a mapping may name."""

CUSTOM: Final = "custom"  # keep the column as a field under its own name
_MAX_NAME: Final = 100
SKIP: Final = "skip"  # ignore the column
CONVERTED: Final = "converted"  # a flag that overrides the status; only Salesforce has it

# Names that mean the same in every system. If several columns map to one field, the first with a value counts,
# in the order of this table, so primary names come first.
_COMMON_COLUMNS: Final = {
    "external_id": "external id,lead id,contact id,record id,crm id,person id,id",
    "email": "email,email address,e mail,e mail address,work email,business email,corporate email,mail,"
    "email id,attendee email,registrant email,participant email,user email",
    "first_name": "first name,given name,forename,vorname,fname,prenom,nombre",
    "last_name": "last name,surname,family name,nachname,lname,apellido",
    "full_name": "full name,name,contact name,lead name,attendee name,participant name,registrant name",
    "title": "job title,title,position,role,job role,job function,jobtitle",
    "company": "company,company name,organization,organisation,account name,employer,firma,business name,"
    "organization name,account",
    "website": "website,company website,web site,url,website url,company domain name,company domain,domain",
    "industry": "industry,sector,company industry,branche",
    "employees": "employees,number of employees,no of employees,employee count,company size,"
    "size,company size range,organization size,staff",
    "phone": "phone,phone number,business phone,work phone,telephone,mobile phone,mobile,mobile phone number,"
    "main phone,telefon",
    "country": "country code,country,country/region,country name,land",
    "region": "state code,state,state/province,province,region,state/region,state/province/region,bundesland,"
    "state or province,county",
    "city": "city,town,locality,stadt,ort",
    "postcode": "postcode,postal code,zip,zip code,zip/postal code,zipcode,plz,postalcode",
    "zone": "time zone,timezone,iana timezone,tz,zone",
    "owner": "owner,owner email,sales rep,sales owner,assigned to,rep",
    "status": "lead status,status,stage,contact status,lead stage",
    "customer": "customer,is customer,existing customer",
    "created_at": "created at,created date,create date,date created,created,creation date,created on",
    "lead_source": "lead source,source,origin,how did you hear about us,channel,utm source",
    "landing_page": "landing page,landing page id,landing page url,conversion page,form url,referring page",
    "purchase_timeframe": "purchase timeframe,purchase time frame,purchasing timeframe,"
    "timeframe,timeline,buying timeframe,buying timeline,decision date,purchase timeline,time frame,"
    "when do you plan to buy,planned purchase,time to buy,implementation timeframe",
    "budget": "budget,budget range,budget confirmed",
    "authority": "authority,buying role,decision maker,role in buying process,purchasing role",
    "need": "need,needs,pain point,challenge,use case,biggest challenge,business need",
    "consent_basis": "consent basis,legal basis,consent,lawful basis,gdpr consent,email consent,marketing "
    "consent,"
    "lawful basis for processing,email opt in,opt in,opted in,"
    "marketing opt in,email opt in explicit,gdpr opt in explicit,consent to email",
    "consent_source": "consent source,opt in source,consent text,consent method,consent form",
    "consent_at": "consent at,consent date,opt in date,consent timestamp,date of consent,opted in at,opt in time",
    "opted_out": "opted out,opt out,email opt out,unsubscribed,unsubscribe,do not email,"
    "opted out of email,sales email opt out,do not contact,no email,suppressed,"
    "opt out of emails,global unsubscribe",
    "deleted": "deleted,is deleted,isdeleted",
    "registered_at": "registered at,registration date,registered on,date registered,"
    "registration date time,sign up date",
    "attended": "attended,attended live,attendance,has attended,live attended,did attend",
    "minutes_attended": "minutes attended,minutes viewed,in session duration,in session time,in session "
    "duration minutes,"
    "time attended,duration minutes,total minutes,viewing time,attendance minutes,total viewing time minutes",
    "questions": "questions,questions asked,question asked,questions count,"
    "questions and comments,number of questions,question",
    "polls": "polls,polls answered,poll responses,polls count,number of polls answered",
    "interest": "interest,topic of interest,interests,product interest,area of interest",
    "demo_requested": "demo requested,request a demo,requested demo,demo request,wants demo,would you like a demo",
}

# Names of one system, in addition to the common names. They also identify the system.
_SYSTEM_COLUMNS: Final = {
    "salesforce": {
        "external_id": "id,lead id,lead id 18,contact id",
        "owner": "owner name,owner id,owner alias,lead owner,account owner",
        "status": "status,lead status",
        "opted_out": "has opted out of email,email opt out",
        "deleted": "is deleted",
        "employees": "number of employees,no of employees",
        "purchase_timeframe": "timeframe",
        CONVERTED: "is converted,converted",
        "lead_source": "lead source",
        "postcode": "postal code,zip/postal code",
        "region": "state/province",
        "company": "company / account",
        CUSTOM: "system modstamp,last modified date,master record id,converted account id,converted "
        "contact id,"
        "converted opportunity id,is unread by owner,last activity date,converted date,photo url,"
        "email bounced reason,email bounced date,jigsaw contact id,created by id,record type id,lead owner "
        "alias,"
        "unread by owner,rating,last modified by id,salutation",
    },
    "hubspot": {
        "external_id": "record id,hs object id,vid,contact id",
        "status": "lifecycle stage,lifecyclestage,lead status,hs lead status",
        "owner": "contact owner,hubspot owner id,hubspot owner",
        "created_at": "create date,createdate",
        "lead_source": "original source,original traffic source,hs analytics source,latest source",
        "opted_out": "unsubscribed from all email,hs email optout,marketing contact unsubscribed",
        "consent_basis": "legal basis for processing contacts data,hs legal basis",
        "landing_page": "first page seen,hs analytics first url",
        "zone": "time zone,hs timezone",
        "employees": "number of employees,numemployees,num employees",
        "authority": "buying role,hs buying role",
        "country": "country/region,hs country region code",
        "title": "job title,jobtitle",
        "purchase_timeframe": "time frame,hs time frame",
        "budget": "hs budget",
        CUSTOM: "associated company,associated company ids,marketing contact status,last activity date,"
        "likelihood to close,hubspot score,number of form submissions,hs lead score,first conversion,"
        "recent conversion,became a marketing qualified lead date,last contacted,membership notes,annual "
        "revenue,"
        "number of pageviews,number of sessions,persona",
    },
    "mautic": {
        "external_id": "id",
        "title": "position",
        "opted_out": "dnc,do not contact,donotcontact",
        "postcode": "zipcode",
        "created_at": "date added,date identified",
        "zone": "timezone",
        "owner": "owner,owner username,owner id,owner email",
        CUSTOM: "title,points,ip,address1,address2,attribution,attribution date,preferred locale,facebook,"
        "twitter,linkedin,instagram,foursquare,skype,googleplus,last active,stage,generated email",
    },
    "marketo": {
        "external_id": "id,lead id,person id,marketo id",
        "status": "person status,lead status",
        "lead_source": "person source,lead source,original source type",
        "opted_out": "unsubscribed",
        "company": "company name,company",
        "employees": "num employees,number of employees",
        "landing_page": "original referrer",
        "title": "job title,title",
        CUSTOM: "person score,lead score,acquisition program,acquisition program name,acquisition date,"
        "inferred country,inferred city,inferred company,inferred state region,marketing suspended,black "
        "listed,"
        "blacklisted,email invalid,email suspended,unsubscribed reason,sfdc type,sfdc id,person partition,"
        "behavior score,demographic score,anonymous ip,relative score,relative urgency,urgency,do not call,"
        "original search engine,original source info,lead partition id",
    },
    "webinar": {
        "full_name": "user name original name,user name,attendee name",
        "title": "job title",
        "registered_at": "registration time,registration date/time,registration date,registered on",
        "attended": "attended,attended live,live attended",
        "country": "country/region name",
        "minutes_attended": "time in session minutes,time in session,live minutes,attendance duration,"
        "in session duration",
        "company": "organization,company",
        "authority": "role in purchase process",
        "purchase_timeframe": "purchasing time frame",
        "questions": "questions comments,questions count,asked questions",
        "interest": "interest rating",
        "polls": "answered polls,polls count,poll responses",
        "lead_source": "source name",
        CUSTOM: "approval status,join time,leave time,is guest,attendance rate,archive minutes,on demand "
        "minutes,"
        "engagement score,engagement index,messages count,has replay,resources viewed,cumulative live "
        "minutes,"
        "webinar name,event name,session id,registration status,registrant id,user status,join type,status",
    },
}

SYSTEMS: Final = tuple(_SYSTEM_COLUMNS)


@lru_cache(maxsize=65536)
def normalize_name(name: str) -> str:
    """Return a column's name without case, spaces, accents, `(UTC)` and custom suffix, for comparison."""
    name = re.sub(r"\((?:utc|gmt)\)\s*$|_{1,2}c$|[\u2019']", "", name.strip().casefold())
    return re.sub(r"[\W_]+", "", name)


def custom_field_name(column: str) -> str:
    """Return the field name of an unknown column: its words joined by underscores."""
    name = re.sub(r"__c$", "", column.strip())
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    return re.sub(r"[\W_]+", "_", re.sub("[\u2019']", "", name)).strip("_")[:64].rstrip("_")


def _rank_names(table: dict[str, str]) -> dict[str, tuple[str, int]]:
    return {
        normalize_name(name): (field, rank)
        for field, names in table.items()
        for rank, name in enumerate(names.split(","))
        if name
    }


_COMMON_NAMES: Final = _rank_names(_COMMON_COLUMNS)
_SYSTEM_NAMES: Final = {system: _rank_names(table) for system, table in _SYSTEM_COLUMNS.items()}
_DISTINCTIVE_NAMES: Final = {system: names.keys() - _COMMON_NAMES.keys() for system, names in _SYSTEM_NAMES.items()}
_ANY_SYSTEM: Final = {
    name: (field, rank)
    for names in _SYSTEM_NAMES.values()
    for name, (field, rank) in names.items()
    if field not in {CUSTOM, CONVERTED}
}


def detect_system(header: Sequence[str]) -> str | None:
    """Return the system with the most of its own column names in *header*; None if there are none."""
    names = {normalize_name(column) for column in header}
    scores = {system: len(names & distinctive) for system, distinctive in _DISTINCTIVE_NAMES.items()}
    best = max(scores, key=lambda system: scores[system])
    return best if scores[best] > 1 else None


def match_field(column: str, system: str | None) -> tuple[str, int] | None:
    """Return the field of *column* in *system*, and the rank of the name for that field (0 is best)."""
    name = normalize_name(column)
    system_match = _SYSTEM_NAMES.get(system or "", {}).get(name)
    if system_match is not None:
        return system_match
    if (common := _COMMON_NAMES.get(name)) is not None:
        return common[0], common[1] + 100
    if (other := _ANY_SYSTEM.get(name)) is not None:
        return other[0], other[1] + 200
    return None


def looks_like_header(cells: Sequence[str]) -> bool:
    """Return whether *cells* are column names: at least two known ones, including an address column."""
    found = {match_field(cell, None) for cell in cells if len(cell) < _MAX_NAME}
    fields = {match[0] for match in found if match is not None}
    return "email" in fields and len(fields) > 1
