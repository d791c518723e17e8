"""List more domains that say nothing about a company: smaller providers, access providers, disposable mail.

Collected by hand from the providers' sign-up pages and the access providers of the larger markets; last
reviewed in 2026-11. Add what is missing here; the largest providers are in `domain.address.is_free_mail`.
"""

from __future__ import annotations

from typing import Final

from nurture.domain.address import is_free_mail


def _split(domains: str) -> frozenset[str]:
    return frozenset(domains.split())


_SHARED_DOMAINS: Final = _split("""
    fastmail.fm tutamail.com tuta.com keemail.me
    zohomail.eu hushmail.com runbox.com duck.com skiff.com usa.com consultant.com
    myself.com mail.org inbox.com lycos.com excite.com startmail.com disroot.org riseup.net
    privaterelay.appleid.com simplelogin.com anonaddy.com
    online.de email.de mail.de vodafone.de kabelmail.de unitybox.de netcologne.de ewe.net
    osnanet.de alice-dsl.net alice.de hanse.net o2online.de freemail.de versanet.de aon.at chello.at
    inode.at utanet.at hispeed.ch sunrise.ch bluemail.ch
    btopenworld.com tiscali.co.uk virgin.net ntlworld.com blueyonder.co.uk
    plusnet.com plus.net eircom.net
    neuf.fr bbox.fr numericable.fr club-internet.fr aliceadsl.fr voila.fr proximus.be
    planet.nl hetnet.nl home.nl upcmail.nl xs4all.nl tele2.nl kpnplanet.nl quicknet.nl casema.nl chello.nl
    pt.lu
    tim.it inwind.it iol.it email.it fastwebnet.it vodafone.it teletu.it
    telefonica.net movistar.es terra.es ono.com wanadoo.es sapo.pt netcabo.pt otenet.gr forthnet.gr
    telia.com comhem.se bredband.net spray.se glocalnet.net online.no broadpark.no frisurf.no tdcadsl.dk
    mail.dk jubii.dk stofanet.dk kolumbus.fi elisanet.fi welho.com luukku.com suomi24.fi simnet.is
    op.pl vp.pl poczta.fm gazeta.pl tlen.pl poczta.onet.pl volny.cz email.cz post.cz atlas.cz
    azet.sk zoznam.sk centrum.sk post.sk freemail.hu citromail.hu t-online.hu indamail.hu mail.bg
    inbox.lv mail.ee hot.ee net.hr inet.hr siol.net
    i.ua meta.ua internet.ru lenta.ru narod.ru mail.kz
    mynet.com superonline.com
    earthlink.net juno.com netzero.net optonline.net roadrunner.com rr.com
    windstream.net frontier.com centurylink.net embarqmail.com mindspring.com ameritech.net pacbell.net
    prodigy.net swbell.net snet.net q.com rogers.com shaw.ca telus.net sympatico.ca bell.net videotron.ca
    cogeco.ca mailfence.com
    ig.com.br globo.com globomail.com r7.com prodigy.net.mx fibertel.com.ar ciudad.com.ar
    arnet.com.ar speedy.com.ar uol.com.ar
    sina.cn tom.com 139.com 189.cn aliyun.com 21cn.com vip.163.com
    nate.com kakao.com softbank.ne.jp i.softbank.jp
    nifty.com ocn.ne.jp biglobe.ne.jp so-net.ne.jp rediff.com sify.com in.com vsnl.net pchome.com.tw
    hinet.net singnet.com.sg pacific.net.sg streamyx.com bigpond.net.au
    iinet.net.au internode.on.net tpg.com.au xtra.co.nz slingshot.co.nz
    mweb.co.za telkomsa.net vodamail.co.za webmail.co.za walla.co.il walla.com netvision.net.il
    maktoob.com emirates.net.ae
    mailinator.com guerrillamail.com 10minutemail.com temp-mail.org yopmail.com trashmail.com
    trash-mail.com sharklasers.com throwawaymail.com getnada.com maildrop.cc dispostable.com
    wegwerfemail.de byom.de spamgourmet.com mohmal.com fakeinbox.com
""")
"""By region; disposable addresses last."""


def is_shared_domain(domain: str) -> bool:
    """Return whether people of many companies have addresses at *domain* (lower case, in its ASCII form)."""
    return domain in _SHARED_DOMAINS or is_free_mail(domain)
