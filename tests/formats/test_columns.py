from __future__ import annotations

import pytest

from nurture.formats.columns import (
    CONVERTED,
    CUSTOM,
    custom_field_name,
    detect_system,
    looks_like_header,
    match_field,
    normalize_name,
)
from nurture.formats.lead_row import FIELDS
from nurture.formats.tables import read_table

HEADERS = {
    "salesforce": "Id,FirstName,LastName,Company,Email,Status,OwnerId,IsConverted,HasOptedOutOfEmail,CreatedDate",
    "salesforce labels": "Lead ID,First Name,Last Name,Company / Account,Email,Lead Status,Lead Owner,"
    "State/Province,"
    "Email Opt Out",
    "salesforce replica": "owner_id,lead_source,id,state,country_code,phone,name,is_converted,status,city,"
    "industry,"
    "title,is_deleted,company,first_name,email,website,last_name,number_of_employees,created_date,"
    "postal_code,"
    "has_opted_out_of_email,timeframe_c,system_modstamp,jigsaw_contact_id",
    "hubspot": "Record ID,First Name,Last Name,Email,Lifecycle Stage,Lead Status,Contact owner,Create Date,"
    "Country/Region,Unsubscribed from all email",
    "mautic": "title,firstname,lastname,city,address1,state,zipcode,country,email,phone,company,website,"
    "facebook,"
    "twitter,ip,points",
    "marketo": "Email Address,First Name,Last Name,Company Name,Person Source,Person Status,Acquisition "
    "Program,"
    "Unsubscribed",
    "zoho": "Record Id,Lead Owner,Company,First Name,Last Name,Email,Lead Source,Lead Status,"
    "Email Opt Out,Created Time,Modified Time",
    "apollo": "First Name,Last Name,Email,Contact Owner,Stage,# Employees,Last Contacted,"
    "Account Owner,Apollo Contact Id",
    "webinar zoom": "Attended,User Name (Original Name),First Name,Last Name,Email,Registration Time,"
    "Approval Status,"
    "Time in Session (minutes),Country/Region Name,Purchasing Time Frame,Role in Purchase Process",
    "webinar goto": "Attended,Interest Rating,Last Name,First Name,Email Address,Registration Date/Time,"
    "Join Time,"
    "Leave Time,Time in Session",
    "webinar on24": "Email,First Name,Last Name,Company,Registration Date,Live Minutes,Archive Minutes,"
    "Asked Questions,Engagement Score",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_system_is_detected_by_its_columns(name: str) -> None:
    header = HEADERS[name].split(",")
    assert detect_system(header) == name.split(maxsplit=1)[0]
    assert looks_like_header(header)


def test_common_columns_identify_no_system() -> None:
    assert detect_system(["email", "name", "title"]) is None


@pytest.mark.parametrize(
    "header",
    [
        "Record ID,Contact Owner,First Name,Email",
        "Record Id,Lead Owner,Company,First Name,Last Name,Email,Lead Source,Lead Status,Email Opt Out,Created Time",
        "Lead Owner,Account Owner,Email,First Name",
        "Create Date,Time Zone,Email,Lead Owner",
    ],
)
def test_columns_that_several_systems_have_identify_none(header: str) -> None:
    assert detect_system(header.split(",")) is None


@pytest.mark.parametrize(
    ("column", "system", "field"),
    [
        ("FirstName", "salesforce", "first_name"),
        ("first_name", None, "first_name"),
        ("Timeframe__c", None, "purchase_timeframe"),
        ("timeframe_c", "salesforce", "purchase_timeframe"),
        ("title", "mautic", CUSTOM),
        ("title", None, "title"),
        ("position", "mautic", "title"),
        ("Time in Session (minutes)", "webinar", "minutes_attended"),
        ("Registration Time (UTC)", None, "registered_at"),
        ("hs_lead_status", "hubspot", "status"),
        ("E-Mail", None, "email"),
        ("Status", "webinar", CUSTOM),
        ("HasOptedOutOfEmail", None, "opted_out"),
        ("Questions & Comments", "webinar", "questions"),
        ("Salesperson", None, "owner"),
        ("Betreuer", None, "owner"),
        ("Person Owner Email Address", None, "owner"),
        ("Created Time", None, "created_at"),
        ("Order Date", None, "created_at"),
        ("Lead Created", None, "created_at"),
        ("Angelegt am", None, "created_at"),
        ("Person - Email", None, "email"),
        ("Person - Name", None, "full_name"),
        ("氏名", None, "full_name"),
        ("Imię i nazwisko", None, "full_name"),
        ("Voornaam", None, "first_name"),
        ("Příjmení", None, "last_name"),
        ("会社名", None, "company"),
        ("Société", None, "company"),
        ("Fonction", None, "title"),
        ("Data inserimento", None, "created_at"),
        ("Date d'ajout", None, "created_at"),
        ("Prénom", None, "first_name"),
        ("Correo electronico", None, "email"),
        ("Quelle", None, "lead_source"),
        ("País", None, "country"),
        ("Code postal", None, "postcode"),
        ("Liczba pracowników", None, "employees"),
        ("Einwilligungsdatum", None, "consent_at"),
    ],
)
def test_a_column_is_mapped_to_its_field(column: str, system: str | None, field: str) -> None:
    found = match_field(column, system)
    assert found is not None
    assert found[0] == field


@pytest.mark.parametrize("name", ["Ad", "Ad Name", "Ad Set"])
def test_an_advertisement_is_no_name(name: str) -> None:
    assert (match_field(name, None) or ("",))[0] != "first_name"


def test_an_unknown_column_has_no_field() -> None:
    assert match_field("Shoe size", "hubspot") is None


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_recognized_by_its_own_name(field: str) -> None:
    found = match_field(field, None)
    assert found is not None
    assert found[0] == ("lead_source" if field == "source" else field)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("LeadScore__c", "lead_score"),
        ("UTM Campaign", "utm_campaign"),
        ("utm_medium_c", "utm_medium_c"),
        ("contact's data", "contacts_data"),
        ("GCLIDValue", "gclid_value"),
        ("---", ""),
        ("Größe", "größe"),
    ],
)
def test_custom_fields_are_named_after_their_column(column: str, name: str) -> None:
    assert custom_field_name(column) == name


def test_case_spaces_and_punctuation_are_ignored() -> None:
    assert len({normalize_name(name) for name in ("Lead Source", "lead_source", "LeadSource__c", " LEAD-SOURCE ")}) == 1


def test_the_table_names_columns_of_every_field_and_of_no_other() -> None:
    fields = {row["field"] for row in read_table("columns.csv")}
    assert fields - {CONVERTED, CUSTOM} == FIELDS.keys() - {"source"}
