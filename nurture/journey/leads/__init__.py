"""Lead records: snapshots, changes, custody transitions and history."""
