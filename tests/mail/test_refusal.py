"""Refusals of real servers, each in the words that its kind uses: only an absent mailbox stops mail to an address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurture.mail.refusal import Refusal, find_enhanced_status, judge_refusal, phrase_patterns
from tests.mail.inbound.patterns import hazards

BLOCKED = [
    # Large receivers and filters: the phrases of each, about our own host and domain.
    "550 Mailbox unavailable. The server response was: 550 5.7.1 messages from [192.0.2.1], block list (S3150).",
    "550 5.7.1 messages from [192.0.2.1] weren't sent, part of their network is on our block list (S3140)",
    "550 SC-001 Mail rejected for policy reasons: IP 192.0.2.1 has been blocked",
    "550-5.7.26 Your email has been blocked because the sender is unauthenticated.\r\n550 5.7.26 SPF did not pass",
    "550-5.7.1 [192.0.2.1] this message is likely unsolicited mail.\r\n550 5.7.1 It has been blocked - gsmtp",
    "550 5.7.1 very low reputation of the sending domain",
    "550 5.7.515 Access denied, sending domain larkfield.example does not meet the required authentication level",
    "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
    "553 5.7.1 [BL21] Connections not accepted from 192.0.2.1, because the ip is in a well-known list",
    "554 5.7.9 Message not accepted for policy reasons",
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.dnsbl.example; https://dnsbl.example/x",
    "554 Blocked - see https://filter.example/dnsbl-lookup?ip=192.0.2.1",
    "550 5.7.1 Service unavailable; client [192.0.2.1] was rejected by the reputation filter",
    "550 permanent failure for one or more recipients (mia@people.example:blocked)",
    "554 Service unavailable; client host [192.0.2.1] blocked by its reputation",
    "550 filter.example Poor Reputation Sender. - https://filter.example/docs",
    "550 Administrative prohibition - envelope blocked - https://filter.example/docs",
    "554 Email rejected due to security policies - https://filter.example/docs",
    "550 Rejected by header based manually blocked senders",
    "550 DMARC check failed: mailbox unavailable",
    "550 5.1.1 user unknown, your host is on our blacklist",
    "550 5.0.0 Recipient address rejected: greylisted, try again later",
    "550 Message rejected due to content restrictions: no such user",
    "550 Mail content denied",
    "550 Ip frequency limited",
    "550 rate limit exceeded, recipient not found",
    "554 IP=192.0.2.1 - A problem occurred. Ask your postmaster for help.",
    "550 spam message rejected",
    "554 5.7.1 Message rejected under suspicion of SPAM",
    "550 5.1.0 <nora@larkfield.example> sender rejected",
    "550 5.1.8 <nora@larkfield.example>: Sender address rejected: Domain not found",
    "550 Verification failed; could not verify sender: user unknown",
    "554 Transaction failed. Reject due to policy restrictions.",
    # The same in other languages.
    "550 Postfach nicht verfügbar: Ihr Server steht auf unserer Sperrliste",
    "554 Nachricht wegen Spamverdacht abgelehnt",
    "550 Absender gesperrt, Empfänger unbekannt",
    "554 Message refusé: votre adresse est sur liste noire",
    "550 Boîte inexistante ou courrier indésirable",
    "550 Rechazado: la IP está en una lista negra, el usuario no existe",
    "550 Rejeitado por política de segurança",
    "550 Messaggio bloccato: casella inesistente",
    "550 Geblokkeerd wegens slechte reputatie",
    "550 Adres zablokowany z powodu polityki",
    "550 Письмо отклонено: адрес в черном списке, пользователь не найден",
    "550 该邮件被拒收,发信IP在黑名单中",
    "550 迷惑メールとして拒否されました",
]
ABSENT = [
    "550-5.1.1 The email account does not exist. Check the\r\n550-5.1.1 address for typos or unnecessary spaces - x",
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
    "554 delivery error: dd This user doesn't have a people.example account (mia@people.example) [0] - mta1.example",
    "Remote server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup'",
    "550 5.2.1 The email account that you tried to reach is disabled",
    "550 5.1.1 <mia@people.example>: Recipient address rejected: User unknown in virtual mailbox table",
    "host mx.antispam.example[192.0.2.7] said: 550 <spam@policy.example>: User unknown in relay recipient table",
    "550 User mia (mia@people.example) not listed in Domino Directory",
    "550 Invalid Recipient - https://filter.example/policy/blocked",
    "550 No such user here",
    "550 The email address you entered couldn't be found",
    "550 The recipient may contain a non-existent account",
    "554 30 This mailbox is disabled (554.30).",
    "550 Addressee unknown",
    "550 sorry, no mailbox here by that name",
    "550 #5.1.0 Address rejected.",
    "X-Postfix; Host or domain name not found. Name service error for name=gone.example: Host not found",
    "550 Unbekannter Empfänger",
    "550 Das Postfach existiert nicht",
    "550 Utilisateur inconnu",
    "550 Adresse du destinataire invalide",
    "550 Usuario desconocido",
    "550 Destinatário inexistente",
    "550 Utente sconosciuto",
    "550 Gebruiker onbekend",
    "550 Konto nie istnieje",
    "550 Пользователь не найден",
    "550 该用户不存在",
    "550 宛先が見つかりません",
]
AMBIGUOUS = [
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [mx.example 2026-11-30]",
    "550 5.1.1 Recipient address rejected: Access denied",
    "550 5.7.1 <mia@people.example>: User unknown",
    "550 <mia@people.example>: Recipient address rejected",
    "550 Zugriff verweigert",
]
OTHER = [
    "552 5.2.2 Mailbox full",
    "550 5.0.0 The mailbox of the recipient is over quota",
    "552 5.3.4 Message size exceeds the limit",
    "450 4.4.1 No answer from host",
    "550 5.0.0 A problem",
    "550 Postfach ist voll",
    "",
]


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        *[(one, Refusal.BLOCKED) for one in BLOCKED],
        *[(one, Refusal.ABSENT) for one in ABSENT],
        *[(one, Refusal.AMBIGUOUS) for one in AMBIGUOUS],
        *[(one, Refusal.OTHER) for one in OTHER],
    ],
)
def test_a_refusal_is_judged_by_its_words_behind_an_unspecific_code(reply: str, refusal: Refusal) -> None:
    assert judge_refusal("5.0.0", reply) is refusal
    assert judge_refusal("", f"smtp; {reply}".upper()) is refusal


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ("5.1.1", Refusal.ABSENT),
        ("5.1.2", Refusal.ABSENT),
        ("5.2.1", Refusal.ABSENT),
        ("5.1.7", Refusal.BLOCKED),
        ("5.7.1", Refusal.BLOCKED),
        ("5.2.2", Refusal.OTHER),
        ("5.0.0", Refusal.OTHER),
        ("4.1.1", Refusal.OTHER),
        ("", Refusal.OTHER),
    ],
)
def test_a_code_without_words_counts_alone(status: str, refusal: Refusal) -> None:
    assert judge_refusal(status, "") is refusal


def test_the_innermost_code_counts() -> None:
    assert find_enhanced_status("5.0.0", "550 5.1.1 relayed, the server response was: 550 5.7.1 no") == "5.7.1"
    assert judge_refusal("5.7.1", "said: 550 5.1.1 none") is Refusal.ABSENT
    assert find_enhanced_status("5.0.0", "host 192.0.2.1[5.1.1.9] said 550 on 5.12.2026") == "5.0.0"


@given(st.text(max_size=300), st.sampled_from(BLOCKED), st.text(max_size=300))
def test_a_block_is_never_an_absent_mailbox_whatever_stands_around_it(before: str, block: str, after: str) -> None:
    assert judge_refusal("5.1.1", f"{before} {block} {after}") is not Refusal.ABSENT


@pytest.mark.parametrize("kind", phrase_patterns())
def test_the_phrases_take_linear_time(kind: str) -> None:
    assert hazards(phrase_patterns()[kind]) == []
