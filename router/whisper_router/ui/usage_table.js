// What keys have used, and their limits.

import { seconds, table } from "./dom.js";

/** Return a table of `GET /v1/usage/keys`. */
export function usageTable(rows) {
  const of = (used, limit) => (limit === null || limit === undefined ? String(used) : `${used} of ${limit}`);
  const heads = [
    "Key",
    "Today",
    "Errors",
    "Audio today",
    "This minute",
    "At once",
    "All audio",
    "May",
    "Expires",
  ];
  return table(
    "Use per key",
    heads,
    rows.map((row) => [
      row.key ?? "(no key)",
      row.today.requests,
      row.today.errors,
      row.limits.audio_minutes_per_day === null
        ? seconds(row.today.audio_seconds)
        : `${(row.today.audio_seconds / 60).toFixed(1)} of ${row.limits.audio_minutes_per_day} min`,
      of(row.now.requests_in_minute, row.limits.requests_per_minute),
      of(row.now.concurrent_requests, row.limits.concurrent_requests),
      seconds(row.total.audio_seconds),
      row.scopes.join(", "),
      row.expires_at ? new Date(row.expires_at * 1000).toLocaleDateString() : "never",
    ]),
  );
}
