"""Every table, one file per capability; `nurture.db.metadata` has them all. The domain never sees a row."""
