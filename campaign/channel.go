// Package campaign is the domain of Postrider: campaigns, their content, their
// recipients and batches, the states these move through, templating, SMS part
// counting and planning. It is pure: it opens no file, no socket and no
// database, and time is handed in.
package campaign

// Channel is the way a message travels. Its values are what the database, the
// command line and the reports call it.
type Channel string

// The four channels.
const (
	SMS      Channel = "sms"
	MMS      Channel = "mms"
	Letter   Channel = "letter"
	Postcard Channel = "postcard"
)

// Channels lists every channel in the order in which it is shown.
func Channels() []Channel { return []Channel{SMS, MMS, Letter, Postcard} }

// ParseChannel reads a channel's name as users type it.
func ParseChannel(s string) (Channel, error) {
	for _, c := range Channels() {
		if s == string(c) {
			return c, nil
		}
	}
	return "", Errorf(CodeInvalid, "channel %q is not known: use sms, mms, letter or postcard", s)
}

// IsPost reports whether the channel is printed and carried to a street address.
func (c Channel) IsPost() bool { return c == Letter || c == Postcard }

// IsPhone reports whether the channel goes to a phone number.
func (c Channel) IsPhone() bool { return c == SMS || c == MMS }

func (c Channel) String() string { return string(c) }

// MaxBatch is the largest number of messages in one request. ClickSend states
// it for SMS, MMS and voice; for letters and postcards it states none, and we
// hold to the same (shared/api/PROVIDER.md, Sending).
const MaxBatch = 1000
