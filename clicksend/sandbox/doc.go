// Package sandbox is the ClickSend REST API v3 as a server, for demos, tests
// and rehearsals. It behaves as the provider's documents say
// (shared/api/semantics.md), down to the dress that each number wears, keeps
// what it accepted, counts what a sender must not do, and misbehaves on demand
// (Faults). Nothing is ever sent anywhere.
//
// It serves the API under /v3, uploaded files under /files/ and its own
// controls under /_sandbox/ (control.go). A group of operations is a file of
// its own with a function that returns its routes; New lists these functions.
//
// # What the documents leave open
//
// The documents show no error body, no price list, no rate limit and little of
// what happens at the borders. Where they are silent the sandbox takes the
// reading that is harder on its client, and these are its choices:
//
//   - A refused request has the four keys of the envelope, with data null.
//     Accounts that are not active or banned get 403.
//   - A file of the sandbox's own that is unknown, expired, too large or of the
//     wrong kind refuses an MMS message by message (INVALID_MEDIA_FILE in a
//     200), and a letter or postcard request as a whole (400): the documents
//     know no status for the latter. Files elsewhere are believed unfetched,
//     and count as one page.
//   - date_delete of an upload says seven days, as in the example; the file is
//     gone after ten minutes, as in the text.
//   - address_line_2 and address_state must be transmitted and may be empty. A
//     return_address_id that does not exist is MISSING_REQUIRED_FIELDS.
//   - A number may be sent to when its country is selected and agreed to.
//   - A schedule in the past is now; one beyond the year 2100, which is one in
//     milliseconds, is INVALID_SCHEDULE. MMS may be scheduled, since their
//     cancelling is documented.
//   - Cancelling what is not held any more is 400, an unknown id 404.
//   - Parts are septets divided by 153, or UTF-16 units divided by 67, rounded
//     up; extension characters count two. No body is split more finely.
//   - A page of fewer than 15 or more than 100 rows is moved to the nearest;
//     searching or sorting by an unknown column is 400.
//   - A documented test number or letter postcode is accepted for free in any
//     country, is never throttled, shows in the history, and is not counted as
//     the same recipient again.
//   - What a missing_rows fault leaves out is missing from the rows only: the
//     totals count it.
package sandbox
