"""What every other package stands on: records, passports, hashes, errors, progress, protocols. No torch."""
