"""One file per foreign format: exports of CRMs and webinar platforms, read into typed rows."""
