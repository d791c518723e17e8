-- The large database, statement by statement. `hash(id, k)` and `time(at)` are written out by large_database.py.

-- Each lead with a few numbers from 0 to 999 that look random, and what they decide.
CREATE TEMP TABLE plan AS
WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < :leads)
SELECT id, :start - (id * 7919 % (:days * 1440)) * 60 AS at, hash(id, 1) AS kind, hash(id, 2) AS sold,
  hash(id, 3) AS answer, hash(id, 4) AS won, hash(id, 5) AS place, hash(id, 6) AS click FROM ids;

INSERT INTO address (id, email, normalized)
SELECT id, 'lead' || id || '@company' || (id % 50000) || '.example', 'lead' || id || '@company' || (id % 50000)
  || '.example' FROM plan;

INSERT INTO lead (id, address_id, source, fields, zone, country, consent_basis, engagement, readiness,
  first_contact_at, created_at, updated_at)
SELECT id, id, 'source ' || (place % 7),
  '{"first_name":"First' || id || '","company":"Company ' || (id % 50000) || '","title":"Head of Planning","employees":'
  || (10 + place % 5 * 60) || ',"industry":"Food","landing_page":"page-' || (click % 20) || '","attended":'
  || CASE WHEN place % 3 = 0 THEN 'true' ELSE 'false' END || '}',
  'Europe/Berlin', 'DE', 'consent', 0.0, CASE WHEN kind < 80 THEN 'ready-asked-for-demo' WHEN kind < 330 THEN 'too-small'
  ELSE 'nurture' END, time(at), time(at), time(at) FROM plan;

INSERT INTO identity (source, external_id, lead_id, is_ambiguous)
SELECT 'source ' || (place % 7), 'x' || id, id, place = 999 FROM plan;

INSERT INTO custody (lead_id, kind, ref, since, next_action, due_at, version)
SELECT id, CASE WHEN kind BETWEEN 80 AND 329 THEN 'closed' WHEN place < 20 THEN 'queue' WHEN sold < 10 THEN 'rep'
  ELSE 'track' END, CASE WHEN kind BETWEEN 80 AND 329 THEN 'discarded' WHEN place < 20 THEN 'suppressed'
  WHEN sold < 10 THEN 'mara' ELSE 'keep-warm' END, time(at), 'next', CASE WHEN kind BETWEEN 80 AND 329 THEN NULL
  ELSE time(:start + 86400) END, 1 FROM plan;

INSERT INTO enrollment (lead_id, track, track_version, entered_at, step, visit, anchor_at, reached_at)
SELECT id, CASE WHEN place % 3 = 0 THEN 'webinar-attended' ELSE 'keep-warm' END, 1, time(at), '01-one-idea', 1,
  time(at), time(at) FROM plan WHERE kind >= 330;

INSERT INTO message (send_key, kind, recipient, lead_id, track, track_version, step, visit, email, planned_at, send_at,
  expires_at, state, state_at, accepted_at, attempts, provider)
SELECT 'touch:' || id || ':' || step || ':1', 'touch', 'lead', id, 'keep-warm', 1, 'step-' || step, 1, 'step', time(at),
  time(at), time(at), 'delivered', time(at + step * 604800), time(at + step * 604800), 1, 'sendgrid'
FROM plan CROSS JOIN (SELECT value AS step FROM json_each(:steps)) AS steps;

INSERT INTO journal (lead_id, at, stage, event, reason, custody_from, custody_to)
SELECT id, time(at), 'intake', 'imported', 'from a file', NULL, 'intake' FROM plan;

INSERT INTO journal (lead_id, at, stage, event, reason, track, track_version, custody_from, custody_to, ref)
SELECT id, time(at + 60), 'enroll', CASE WHEN kind < 80 THEN 'hand_off' ELSE 'classified' END, 'by its rule',
  CASE WHEN kind >= 330 THEN 'keep-warm' END, CASE WHEN kind >= 330 THEN 1 END, 'intake',
  CASE WHEN kind < 80 THEN 'queue' WHEN kind < 330 THEN 'closed' ELSE 'track' END, 'x' FROM plan;

INSERT INTO journal (lead_id, at, stage, event, reason, track, track_version, step)
SELECT lead_id, accepted_at, 'advance', 'touch', 'the step is due', track, track_version, step FROM message;

-- A tenth is handed off after one to twelve weeks; a fifth of those goes to a second rep.
CREATE TEMP TABLE handed AS SELECT row_number() OVER (ORDER BY id) AS offer_id, id,
  at + 604800 * (1 + click % 12) AS at, answer, won, sold, kind FROM plan
  WHERE (sold < 100 OR kind < 80) AND at + 604800 * 13 < :start;

INSERT INTO offer (id, lead_id, rep, rule, handoff_reason, routing_reason, policy_version, state, offered_at, expires_at,
  answered_at, reason, escalation_level, round, priority, hot, followed_up_at, touched_at)
SELECT offer_id * 2 - 1, id, CASE answer % 3 WHEN 0 THEN 'mara' WHEN 1 THEN 'tomas' ELSE 'yuki' END, CASE WHEN kind < 80
  THEN 'ready-asked-for-demo' ELSE 'engaged' END, '', '', 1, CASE WHEN answer < 500 THEN 'accepted' WHEN answer < 800 THEN
  'rejected' ELSE 'expired' END, time(at), time(at + 86400), time(at + answer * 60), CASE WHEN answer BETWEEN 500 AND 799
  THEN 'not-now' END, 0, 1, 0.0, 0, CASE WHEN answer < 400 THEN time(at + answer * 600) END, NULL FROM handed;

INSERT INTO offer (id, lead_id, rep, rule, handoff_reason, routing_reason, policy_version, state, offered_at, expires_at,
  answered_at, escalation_level, round, priority, hot, followed_up_at)
SELECT offer_id * 2, id, 'yuki', 'engaged', '', '', 1, 'accepted', time(at + 90000), time(at + 180000), time(at + 100000),
  0, 2, 0.0, 0, CASE WHEN sold % 2 THEN time(at + 200000) END FROM handed WHERE answer >= 800;

INSERT INTO routing_decision (lead_id, offer_id, at, policy_version, rule, rep, reasons, request)
SELECT lead_id, id, offered_at, 1, 'rest', rep, '[]', '{}' FROM offer;

INSERT INTO message (send_key, kind, recipient, lead_id, offer_id, step, visit, email, planned_at, send_at, expires_at,
  state, state_at, accepted_at, attempts)
SELECT 'brief:' || id, 'brief', 'rep', lead_id, id, '', 1, 'brief', offered_at, offered_at, expires_at, 'accepted',
  offered_at, offered_at, 1 FROM offer;

INSERT INTO journal (lead_id, at, stage, event, reason, custody_from, custody_to, ref)
SELECT lead_id, offered_at, 'handoff', 'offered', '', CASE WHEN round = 1 THEN 'track' ELSE 'offer' END, 'offer', rep
FROM offer;

INSERT INTO journal (lead_id, at, stage, event, reason, custody_from, custody_to, ref)
SELECT lead_id, answered_at, 'handoff', CASE state WHEN 'accepted' THEN 'accepted' ELSE 'recycled' END, '', 'offer',
  CASE state WHEN 'accepted' THEN 'rep' ELSE 'track' END, rep FROM offer WHERE state <> 'expired';

INSERT INTO outcome (lead_id, closing, happened_at, reason, source, recorded_at)
SELECT id, 'discarded', time(at + 60), 'too small', 'nurture', time(at + 60) FROM plan WHERE kind BETWEEN 80 AND 329;

INSERT INTO outcome (lead_id, closing, happened_at, amount, reason, source, recorded_at)
SELECT id, CASE WHEN won < 250 THEN 'won' ELSE 'lost' END, time(at + 86400 * (10 + won)), 5000.0, '', 'crm',
  time(at + 86400 * (10 + won)) FROM handed WHERE won < 350 AND at + 86400 * (10 + won) < :start;

INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict, verdict_reason, track, step, source,
  applied_at)
SELECT id, CASE WHEN click < 480 THEN 'clicked' WHEN click < 500 THEN 'replied' ELSE 'unsubscribed' END,
  time(at + 700000), time(at + 700010), 'click:' || id, 'human', '', 'keep-warm', 'step-1', 'link', time(at + 700040)
FROM plan WHERE click < 505;

INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict, verdict_reason, value, source,
  applied_at)
SELECT id, 'deciding', time(at), time(at), 'deciding:' || id, 'human', '', date(at + 86400 * (30 + won), 'unixepoch'),
  'form', time(at) FROM plan WHERE won % 20 = 0;

INSERT INTO signal (lead_id, kind, occurred_at, recorded_at, natural_key, verdict, verdict_reason, source, applied_at)
SELECT id, CASE WHEN place % 2 THEN 'attended' ELSE 'registered' END, time(at), time(at), 'event:' || id, 'human', '',
  'webinar', time(at) FROM plan WHERE click < 200;

INSERT INTO missing_field (lead_id, field, rule, requested_at, due_at, filled_at, filled_by)
SELECT id, 'country', 'dach', time(at), time(at + 259200), CASE WHEN won < 600 THEN time(at + 86400) END,
  CASE WHEN won < 600 THEN 'lead' END FROM plan WHERE place BETWEEN 20 AND 39;

INSERT OR REPLACE INTO created_leads (source, count) SELECT source, count(*) FROM lead GROUP BY source;

ANALYZE;
