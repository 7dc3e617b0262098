// Package clicksend is a typed client of the ClickSend REST v3 API. It stands
// alone: nothing else of this project is inside.
//
//	client, err := clicksend.New(clicksend.Config{Username: user, APIKey: key})
//	result, err := client.SMS.Send(ctx, []clicksend.SMSMessage{{To: "+61411111111", Body: "Hi"}})
//
// Three promises shape it.
//
// It does exactly what it is asked, once. No request is retried, redirected or
// written a second time, neither by this package nor by net/http beneath it;
// HTTP/2, which replays, is off. What a failure means is for the caller to
// decide, and [KindOf] says which it was. [NotSent] is only claimed when the
// operating system took not one byte of the request; everything after that
// byte, on an operation with an effect, is [UnknownOutcome].
//
// It does nothing late. A request is written only while its context and its
// deadline stand, both asked right before each write to the socket, so that a
// process that was stopped or whose machine slept does not send when it wakes.
// [WithGuard] lets the caller put one more question right before the first byte.
//
// It reads every dress that the provider's values wear: prices as numbers and
// as strings of two, four and six decimals, counts as "1.00", schedules as "",
// null or a string, empty objects as []. Money is exact. A value in a row that
// cannot be read at all does not take the other rows with it: see [Reading].
//
// Errors hold no credentials and no personal data: what the provider writes
// into its messages is redacted first.
//
// The facts behind the comments stand in shared/api/semantics.md and
// shared/api/PROVIDER.md.
package clicksend
