"""What every other room stands on: errors, configurations, files, identities, the run frame, stored arrays, progress,
records and passports, protocols. No torch."""
