"""Free mail domains, which do not identify a company.

Compiled by hand from the domains that mail providers offer at sign-up and from the access providers of the larger
markets; last reviewed in 2026-11. Add missing domains here.
"""

from __future__ import annotations

import re
from typing import Final

from nurture.domain.address import FREE_MAIL_DOMAINS

_COUNTRY_FAMILIES: Final = re.compile(r"(yahoo|ymail|hotmail|live|outlook|msn|gmx|aol|yandex)(\.[a-z]{2,4}){1,2}")
"""Providers that use the same name in dozens of countries."""


def _split(domains: str) -> frozenset[str]:
    return frozenset(domains.split())


_FREE_MAIL_DOMAINS: Final = _split("""
    aim.com rocketmail.com passport.com fastmail.fm tutanota.de tutamail.com tuta.com tuta.io keemail.me
    zohomail.com zohomail.eu hushmail.com runbox.com duck.com skiff.com email.com usa.com consultant.com
    myself.com mail.org inbox.com lycos.com excite.com startmail.com disroot.org riseup.net
    privaterelay.appleid.com simplelogin.com anonaddy.com
    arcor.de online.de email.de mail.de vodafone.de kabelmail.de unitybox.de netcologne.de ewe.net
    osnanet.de alice-dsl.net alice.de hanse.net o2online.de freemail.de versanet.de aon.at chello.at
    inode.at utanet.at hispeed.ch sunrise.ch gmx.li bluemail.ch
    btopenworld.com talktalk.net tiscali.co.uk virginmedia.com virgin.net ntlworld.com blueyonder.co.uk
    plusnet.com plus.net eircom.net
    sfr.fr neuf.fr bbox.fr numericable.fr club-internet.fr aliceadsl.fr voila.fr skynet.be proximus.be
    planet.nl hetnet.nl home.nl upcmail.nl xs4all.nl tele2.nl kpnplanet.nl quicknet.nl casema.nl chello.nl
    pt.lu
    alice.it tin.it tim.it tiscali.it inwind.it iol.it email.it fastwebnet.it vodafone.it teletu.it
    telefonica.net movistar.es terra.es ono.com wanadoo.es sapo.pt netcabo.pt otenet.gr forthnet.gr
    telia.com comhem.se bredband.net spray.se glocalnet.net online.no broadpark.no frisurf.no tdcadsl.dk
    mail.dk jubii.dk stofanet.dk kolumbus.fi elisanet.fi welho.com luukku.com suomi24.fi simnet.is
    op.pl vp.pl poczta.fm gazeta.pl tlen.pl poczta.onet.pl centrum.cz volny.cz email.cz post.cz atlas.cz
    azet.sk zoznam.sk centrum.sk post.sk freemail.hu citromail.hu t-online.hu indamail.hu abv.bg mail.bg
    inbox.lv mail.ee hot.ee net.hr inet.hr siol.net
    ukr.net i.ua meta.ua bk.ru inbox.ru list.ru internet.ru rambler.ru lenta.ru ya.ru narod.ru mail.kz
    mynet.com superonline.com
    charter.net bellsouth.net earthlink.net juno.com netzero.net optonline.net roadrunner.com rr.com
    windstream.net frontier.com centurylink.net embarqmail.com mindspring.com ameritech.net pacbell.net
    prodigy.net swbell.net snet.net q.com rogers.com shaw.ca telus.net sympatico.ca bell.net videotron.ca
    cogeco.ca mailfence.com
    terra.com.br ig.com.br globo.com globomail.com r7.com prodigy.net.mx fibertel.com.ar ciudad.com.ar
    arnet.com.ar speedy.com.ar uol.com.ar
    yeah.net sina.com sina.cn sohu.com foxmail.com tom.com 139.com 189.cn aliyun.com 21cn.com vip.163.com
    hanmail.net daum.net nate.com kakao.com docomo.ne.jp ezweb.ne.jp softbank.ne.jp i.softbank.jp
    nifty.com ocn.ne.jp biglobe.ne.jp so-net.ne.jp rediff.com sify.com in.com vsnl.net pchome.com.tw
    hinet.net singnet.com.sg pacific.net.sg streamyx.com bigpond.com bigpond.net.au optusnet.com.au
    iinet.net.au internode.on.net tpg.com.au xtra.co.nz slingshot.co.nz
    mweb.co.za telkomsa.net vodamail.co.za webmail.co.za walla.co.il walla.com netvision.net.il
    maktoob.com emirates.net.ae
    mailinator.com guerrillamail.com 10minutemail.com temp-mail.org yopmail.com trashmail.com
    trash-mail.com sharklasers.com throwawaymail.com getnada.com maildrop.cc dispostable.com
    wegwerfemail.de byom.de spamgourmet.com mohmal.com fakeinbox.com
""")
"""By region; disposable domains last."""


def is_free_mail(domain: str) -> bool:
    """Return whether anybody can get an address at *domain* (lower case, ASCII form)."""
    return (
        domain in FREE_MAIL_DOMAINS or domain in _FREE_MAIL_DOMAINS or _COUNTRY_FAMILIES.fullmatch(domain) is not None
    )
