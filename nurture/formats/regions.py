"""Time zones by region, for countries with more than one."""

from __future__ import annotations

from typing import Final

# The zone in which most people of the country live; used when the region is unknown.
MAIN_ZONE: Final = {
    "AQ": "Antarctica/McMurdo",
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CD": "Africa/Kinshasa",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "FM": "Pacific/Pohnpei",
    "GL": "America/Nuuk",
    "ID": "Asia/Jakarta",
    "KI": "Pacific/Tarawa",
    "KZ": "Asia/Almaty",
    "MH": "Pacific/Majuro",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PF": "Pacific/Tahiti",
    "PG": "Pacific/Port_Moresby",
    "PS": "Asia/Gaza",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "UM": "Pacific/Wake",
    "US": "America/New_York",
    "UZ": "Asia/Tashkent",
}

# Country -> zone -> its regions, by code and by name. Regions in the main zone are named too, so that a
# known region differs from an unknown one; a region with two zones is listed under the more populous.
REGIONS: Final[dict[str, dict[str, str]]] = {
    "US": {
        "America/New_York": "CT,Connecticut,DE,Delaware,DC,District of Columbia,Washington DC,FL,Florida,GA,"
        "Georgia,KY,Kentucky,ME,Maine,MD,Maryland,MA,Massachusetts,NH,New Hampshire,NJ,New Jersey,NY,New "
        "York,"
        "NC,North Carolina,OH,Ohio,PA,Pennsylvania,RI,Rhode Island,SC,South Carolina,VT,Vermont,VA,Virginia,"
        "WV,West Virginia",
        "America/Detroit": "MI,Michigan",
        "America/Indiana/Indianapolis": "IN,Indiana",
        "America/Chicago": "AL,Alabama,AR,Arkansas,IL,Illinois,IA,Iowa,KS,Kansas,LA,Louisiana,MN,Minnesota,"
        "MS,"
        "Mississippi,MO,Missouri,NE,Nebraska,ND,North Dakota,OK,Oklahoma,SD,South Dakota,TN,Tennessee,TX,"
        "Texas,"
        "WI,Wisconsin",
        "America/Denver": "CO,Colorado,MT,Montana,NM,New Mexico,UT,Utah,WY,Wyoming",
        "America/Boise": "ID,Idaho",
        "America/Phoenix": "AZ,Arizona",
        "America/Los_Angeles": "CA,California,NV,Nevada,OR,Oregon,WA,Washington,Washington State",
        "America/Anchorage": "AK,Alaska",
        "Pacific/Honolulu": "HI,Hawaii",
        "America/Puerto_Rico": "PR,Puerto Rico",
        "America/St_Thomas": "VI,Virgin Islands,US Virgin Islands",
        "Pacific/Guam": "GU,Guam",
        "Pacific/Saipan": "MP,Northern Mariana Islands",
        "Pacific/Pago_Pago": "AS,American Samoa",
    },
    "CA": {
        "America/St_Johns": "NL,NF,Newfoundland and Labrador,Newfoundland",
        "America/Halifax": "NS,Nova Scotia,PE,PEI,Prince Edward Island",
        "America/Moncton": "NB,New Brunswick",
        "America/Toronto": "ON,Ontario,QC,PQ,Quebec",
        "America/Iqaluit": "NU,Nunavut",
        "America/Winnipeg": "MB,Manitoba",
        "America/Regina": "SK,Saskatchewan",
        "America/Edmonton": "AB,Alberta,NT,Northwest Territories",
        "America/Vancouver": "BC,British Columbia",
        "America/Whitehorse": "YT,Yukon,Yukon Territory",
    },
    "AU": {
        "Australia/Sydney": "NSW,New South Wales,ACT,Australian Capital Territory",
        "Australia/Melbourne": "VIC,Victoria",
        "Australia/Brisbane": "QLD,Queensland",
        "Australia/Adelaide": "SA,South Australia",
        "Australia/Darwin": "NT,Northern Territory",
        "Australia/Perth": "WA,Western Australia",
        "Australia/Hobart": "TAS,Tasmania",
    },
    "BR": {
        "America/Sao_Paulo": "SP,Sao Paulo,RJ,Rio de Janeiro,MG,Minas Gerais,ES,Espirito Santo,PR,Parana,SC,"
        "Santa Catarina,RS,Rio Grande do Sul,GO,Goias,DF,Distrito Federal,Federal District",
        "America/Fortaleza": "CE,Ceara,MA,Maranhao,PI,Piaui,RN,Rio Grande do Norte,PB,Paraiba",
        "America/Recife": "PE,Pernambuco",
        "America/Maceio": "AL,Alagoas,SE,Sergipe",
        "America/Bahia": "BA,Bahia",
        "America/Belem": "PA,Para,AP,Amapa",
        "America/Araguaina": "TO,Tocantins",
        "America/Campo_Grande": "MS,Mato Grosso do Sul",
        "America/Cuiaba": "MT,Mato Grosso",
        "America/Porto_Velho": "RO,Rondonia",
        "America/Boa_Vista": "RR,Roraima",
        "America/Manaus": "AM,Amazonas",
        "America/Rio_Branco": "AC,Acre",
    },
    "MX": {
        "America/Mexico_City": "CDMX,DF,Mexico City,Ciudad de Mexico,Distrito Federal,Mexico,Estado de "
        "Mexico,JAL,"
        "Jalisco,PUE,Puebla,VER,Veracruz,GTO,Guanajuato,QRO,Queretaro,Michoacan,Oaxaca,Chiapas,Hidalgo,"
        "Morelos,"
        "Guerrero,Tabasco,Tlaxcala,Aguascalientes,San Luis Potosi,Zacatecas,Colima",
        "America/Cancun": "QROO,Quintana Roo",
        "America/Merida": "YUC,Yucatan,CAM,Campeche",
        "America/Monterrey": "NL,Nuevo Leon,COAH,Coahuila,TAMPS,Tamaulipas,DGO,Durango",
        "America/Chihuahua": "CHIH,Chihuahua",
        "America/Mazatlan": "SIN,Sinaloa,NAY,Nayarit,BCS,Baja California Sur",
        "America/Hermosillo": "SON,Sonora",
        "America/Tijuana": "BC,Baja California",
    },
    "RU": {
        "Europe/Kaliningrad": "Kaliningrad,Kaliningrad Oblast",
        "Europe/Moscow": "Moscow,Moscow Oblast,Moskva,Saint Petersburg,St Petersburg,Leningrad Oblast,"
        "Tatarstan,"
        "Nizhny Novgorod,Nizhny Novgorod Oblast,Krasnodar Krai,Rostov Oblast,Voronezh Oblast",
        "Europe/Volgograd": "Volgograd,Volgograd Oblast",
        "Europe/Kirov": "Kirov,Kirov Oblast",
        "Europe/Astrakhan": "Astrakhan,Astrakhan Oblast",
        "Europe/Saratov": "Saratov,Saratov Oblast",
        "Europe/Ulyanovsk": "Ulyanovsk,Ulyanovsk Oblast",
        "Europe/Samara": "Samara,Samara Oblast,Udmurtia",
        "Asia/Yekaterinburg": "Sverdlovsk,Sverdlovsk Oblast,Yekaterinburg,Chelyabinsk,Chelyabinsk Oblast,"
        "Perm,"
        "Perm Krai,Bashkortostan,Tyumen,Tyumen Oblast,Orenburg Oblast,Kurgan Oblast,Khanty-Mansi,"
        "Yamalo-Nenets",
        "Asia/Omsk": "Omsk,Omsk Oblast",
        "Asia/Novosibirsk": "Novosibirsk,Novosibirsk Oblast",
        "Asia/Barnaul": "Altai,Altai Krai,Altai Republic",
        "Asia/Tomsk": "Tomsk,Tomsk Oblast",
        "Asia/Novokuznetsk": "Kemerovo,Kemerovo Oblast",
        "Asia/Krasnoyarsk": "Krasnoyarsk,Krasnoyarsk Krai,Khakassia,Tuva",
        "Asia/Irkutsk": "Irkutsk,Irkutsk Oblast,Buryatia",
        "Asia/Chita": "Zabaykalsky,Zabaykalsky Krai",
        "Asia/Yakutsk": "Sakha,Yakutia,Sakha Republic,Amur,Amur Oblast",
        "Asia/Vladivostok": "Primorsky,Primorsky Krai,Khabarovsk,Khabarovsk Krai,Vladivostok",
        "Asia/Magadan": "Magadan,Magadan Oblast",
        "Asia/Sakhalin": "Sakhalin,Sakhalin Oblast",
        "Asia/Kamchatka": "Kamchatka,Kamchatka Krai",
        "Asia/Anadyr": "Chukotka",
    },
    "ID": {
        "Asia/Jakarta": "Jakarta,DKI Jakarta,West Java,Jawa Barat,Central Java,Jawa Tengah,East Java,Jawa "
        "Timur,"
        "Banten,Yogyakarta,Aceh,North Sumatra,West Sumatra,South Sumatra,Riau,Jambi,Lampung,Bengkulu",
        "Asia/Pontianak": "West Kalimantan,Kalimantan Barat,Central Kalimantan,Kalimantan Tengah",
        "Asia/Makassar": "Bali,East Kalimantan,Kalimantan Timur,South Kalimantan,Kalimantan Selatan,North "
        "Kalimantan,"
        "South Sulawesi,Sulawesi Selatan,North Sulawesi,Sulawesi Utara,Central Sulawesi,Southeast Sulawesi,"
        "Gorontalo,West Sulawesi,West Nusa Tenggara,East Nusa Tenggara",
        "Asia/Jayapura": "Papua,West Papua,Papua Barat,Maluku,North Maluku,Maluku Utara",
    },
    "KZ": {
        "Asia/Almaty": "Almaty,Astana,Nur-Sultan,Shymkent,Karaganda,Pavlodar,East Kazakhstan,Akmola",
        "Asia/Qyzylorda": "Qyzylorda,Kyzylorda",
        "Asia/Qostanay": "Qostanay,Kostanay",
        "Asia/Aqtobe": "Aqtobe,Aktobe",
        "Asia/Aqtau": "Mangystau,Aktau",
        "Asia/Atyrau": "Atyrau",
        "Asia/Oral": "West Kazakhstan,Oral,Uralsk",
    },
    "ES": {
        "Atlantic/Canary": "Canarias,Canary Islands,Las Palmas,Santa Cruz de Tenerife,Tenerife",
        "Africa/Ceuta": "Ceuta,Melilla",
    },
    "PT": {"Atlantic/Azores": "Azores,Acores", "Atlantic/Madeira": "Madeira"},
    "CL": {
        "America/Punta_Arenas": "Magallanes",
        "America/Coyhaique": "Aysen",
        "Pacific/Easter": "Easter Island,Isla de Pascua",
    },
    "CD": {
        "Africa/Lubumbashi": "Haut-Katanga,Katanga,Lualaba,Kasai,Kasai-Oriental,North Kivu,South Kivu,"
        "Nord-Kivu,"
        "Sud-Kivu,Maniema,Tshopo,Ituri"
    },
    "EC": {"Pacific/Galapagos": "Galapagos"},
    "MN": {"Asia/Hovd": "Hovd,Khovd,Uvs,Bayan-Olgii"},
    "MY": {"Asia/Kuching": "Sabah,Sarawak,Labuan"},
    "NZ": {"Pacific/Chatham": "Chatham Islands"},
    "CN": {"Asia/Urumqi": "Urumqi"},
}

# Cities in another zone than most of their region.
CITIES: Final[dict[tuple[str, str], str]] = {
    ("US", "elpaso"): "America/Denver",
    ("US", "pensacola"): "America/Chicago",
    ("US", "panamacity"): "America/Chicago",
    ("US", "knoxville"): "America/New_York",
    ("US", "chattanooga"): "America/New_York",
    ("US", "evansville"): "America/Chicago",
    ("US", "gary"): "America/Chicago",
    ("US", "rapidcity"): "America/Denver",
    ("US", "bowlinggreen"): "America/Chicago",
    ("US", "coeurdalene"): "America/Los_Angeles",
    ("CA", "thunderbay"): "America/Toronto",
    ("CA", "kenora"): "America/Winnipeg",
    ("CA", "yellowknife"): "America/Edmonton",
    ("CA", "lloydminster"): "America/Edmonton",
    ("AU", "brokenhill"): "Australia/Broken_Hill",
    ("MX", "ciudadjuarez"): "America/Ciudad_Juarez",
    ("MX", "puertovallarta"): "America/Mexico_City",
    ("MX", "bahiadebanderas"): "America/Bahia_Banderas",
}
# For city names that occur in several regions: the regions in which CITIES applies.
CITY_REGIONS: Final[dict[str, frozenset[str]]] = {
    "panamacity": frozenset({"fl", "florida"}),
    "evansville": frozenset({"in", "indiana"}),
    "gary": frozenset({"in", "indiana"}),
    "knoxville": frozenset({"tn", "tennessee"}),
    "chattanooga": frozenset({"tn", "tennessee"}),
    "bowlinggreen": frozenset({"ky", "kentucky"}),
    "pensacola": frozenset({"fl", "florida"}),
    "elpaso": frozenset({"tx", "texas"}),
    "rapidcity": frozenset({"sd", "southdakota"}),
    "kenora": frozenset({"on", "ontario"}),
}
