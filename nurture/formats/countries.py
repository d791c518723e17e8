"""ISO 3166 codes of countries, and common names for them."""

from __future__ import annotations

from typing import Final

# alpha-2 and alpha-3, ISO 3166-1.
CODES: Final = (
    "AD AND AE ARE AF AFG AG ATG AI AIA AL ALB AM ARM AO AGO AQ ATA AR ARG AS ASM AT AUT AU AUS AW ABW AX "
    "ALA AZ AZE "
    "BA BIH BB BRB BD BGD BE BEL BF BFA BG BGR BH BHR BI BDI BJ BEN BL BLM BM BMU BN BRN BO BOL BQ BES BR "
    "BRA BS BHS "
    "BT BTN BV BVT BW BWA BY BLR BZ BLZ CA CAN CC CCK CD COD CF CAF CG COG CH CHE CI CIV CK COK CL CHL CM "
    "CMR CN CHN "
    "CO COL CR CRI CU CUB CV CPV CW CUW CX CXR CY CYP CZ CZE DE DEU DJ DJI DK DNK DM DMA DO DOM DZ DZA EC "
    "ECU EE EST "
    "EG EGY EH ESH ER ERI ES ESP ET ETH FI FIN FJ FJI FK FLK FM FSM FO FRO FR FRA GA GAB GB GBR GD GRD GE "
    "GEO GF GUF "
    "GG GGY GH GHA GI GIB GL GRL GM GMB GN GIN GP GLP GQ GNQ GR GRC GS SGS GT GTM GU GUM GW GNB GY GUY HK "
    "HKG HM HMD "
    "HN HND HR HRV HT HTI HU HUN ID IDN IE IRL IL ISR IM IMN IN IND IO IOT IQ IRQ IR IRN IS ISL IT ITA JE "
    "JEY JM JAM "
    "JO JOR JP JPN KE KEN KG KGZ KH KHM KI KIR KM COM KN KNA KP PRK KR KOR KW KWT KY CYM KZ KAZ LA LAO LB "
    "LBN LC LCA "
    "LI LIE LK LKA LR LBR LS LSO LT LTU LU LUX LV LVA LY LBY MA MAR MC MCO MD MDA ME MNE MF MAF MG MDG MH "
    "MHL MK MKD "
    "ML MLI MM MMR MN MNG MO MAC MP MNP MQ MTQ MR MRT MS MSR MT MLT MU MUS MV MDV MW MWI MX MEX MY MYS MZ "
    "MOZ NA NAM "
    "NC NCL NE NER NF NFK NG NGA NI NIC NL NLD NO NOR NP NPL NR NRU NU NIU NZ NZL OM OMN PA PAN PE PER PF "
    "PYF PG PNG "
    "PH PHL PK PAK PL POL PM SPM PN PCN PR PRI PS PSE PT PRT PW PLW PY PRY QA QAT RE REU RO ROU RS SRB RU "
    "RUS RW RWA "
    "SA SAU SB SLB SC SYC SD SDN SE SWE SG SGP SH SHN SI SVN SJ SJM SK SVK SL SLE SM SMR SN SEN SO SOM SR "
    "SUR SS SSD "
    "ST STP SV SLV SX SXM SY SYR SZ SWZ TC TCA TD TCD TF ATF TG TGO TH THA TJ TJK TK TKL TL TLS TM TKM TN "
    "TUN TO TON "
    "TR TUR TT TTO TV TUV TW TWN TZ TZA UA UKR UG UGA UM UMI US USA UY URY UZ UZB VA VAT VC VCT VE VEN VG "
    "VGB VI VIR "
    "VN VNM VU VUT WF WLF WS WSM YE YEM YT MYT ZA ZAF ZM ZMB ZW ZWE"
)

VARIANTS: Final = {
    "AE": "UAE,Emirates",
    "AG": "Antigua",
    "BA": "Bosnia,Bosnien und Herzegowina",
    "BE": "Belgien,Belgique,Belgie",
    "BN": "Brunei Darussalam",
    "BO": "Plurinational State of Bolivia,Bolivia Plurinational State of",
    "BQ": "Bonaire,Bonaire Sint Eustatius and Saba,Caribbean Netherlands",
    "BR": "Brasil,Brasilien,Bresil",
    "CD": "DR Congo,DRC,Congo Kinshasa,Democratic Republic of the Congo,Congo The Democratic Republic of the",
    "CF": "Central African Republic",
    "CG": "Congo,Republic of the Congo,Congo Brazzaville",
    "CH": "Schweiz,Suisse,Svizzera",
    "CI": "Ivory Coast",
    "CN": "PRC,Peoples Republic of China,Mainland China",
    "CV": "Cabo Verde",
    "CZ": "Czechia",
    "DE": "Deutschland,Allemagne,Alemania,Federal Republic of Germany",
    "DK": "Danmark",
    "ES": "Espana,Espagne,Spanien",
    "FI": "Suomi",
    "FK": "Falkland Islands Malvinas",
    "FM": "Federated States of Micronesia,Micronesia Federated States of",
    "FR": "Frankreich,Francia",
    "GB": "UK,Great Britain,Britain,United Kingdom,United Kingdom of Great Britain and Northern Ireland,"
    "England,"
    "Scotland,Wales,Northern Ireland",
    "GM": "The Gambia",
    "GR": "Hellas",
    "HK": "Hong Kong SAR,Hong Kong SAR China,Hongkong",
    "HR": "Hrvatska",
    "HU": "Magyarorszag",
    "IE": "Republic of Ireland,Eire",
    "IR": "Iran Islamic Republic of,Islamic Republic of Iran",
    "IT": "Italia,Italien,Italie",
    "JP": "Nippon",
    "KN": "Saint Kitts and Nevis",
    "KP": "North Korea,Korea Democratic Peoples Republic of",
    "KR": "South Korea,Korea,Republic of Korea,Korea Republic of",
    "LA": "Lao Peoples Democratic Republic",
    "LC": "Saint Lucia",
    "MD": "Republic of Moldova,Moldova Republic of",
    "MF": "Saint Martin",
    "MK": "Macedonia,Macedonia the former Yugoslav Republic of",
    "MM": "Myanmar,Burma",
    "MO": "Macao,Macao SAR",
    "MX": "Mejico,Mexique",
    "NL": "Holland,The Netherlands,Nederland,Niederlande,Pays Bas",
    "NO": "Norge",
    "AT": "Osterreich,Oesterreich,Autriche",
    "PH": "The Philippines",
    "PL": "Polska,Polen",
    "PM": "Saint Pierre and Miquelon",
    "PS": "State of Palestine,Palestinian Territory,Palestine State of",
    "RU": "Russian Federation",
    "SE": "Sverige,Schweden",
    "SH": "Saint Helena",
    "ST": "Sao Tome and Principe",
    "SX": "Sint Maarten",
    "SY": "Syrian Arab Republic",
    "SZ": "Eswatini,Swaziland",
    "TC": "Turks and Caicos Islands",
    "TF": "French Southern Territories",
    "TL": "Timor Leste",
    "TR": "Turkiye,Turkei",
    "TW": "Taiwan Province of China,Chinese Taipei",
    "TZ": "United Republic of Tanzania,Tanzania United Republic of",
    "UA": "Ukraina",
    "UM": "United States Minor Outlying Islands",
    "US": "U.S.,U.S.A.,United States of America,America,The United States,Vereinigte Staaten,Etats Unis,"
    "Estados Unidos,EEUU",
    "VA": "Holy See",
    "VC": "Saint Vincent and the Grenadines",
    "VE": "Bolivarian Republic of Venezuela,Venezuela Bolivarian Republic of",
    "VG": "British Virgin Islands",
    "VI": "US Virgin Islands,Virgin Islands",
    "VN": "Viet Nam",
    "WS": "Samoa",
    "AS": "American Samoa",
}
