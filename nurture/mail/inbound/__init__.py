"""Read incoming mail: replies, absences, opt-outs and bounce reports."""
