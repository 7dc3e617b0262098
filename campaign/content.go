package campaign

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
)

// Content is what a campaign sends: one message, or one letter or postcard,
// with places for each recipient's own fields. It is stored with the campaign
// as JSON, as it was approved.
type Content struct {
	Channel Channel `json:"channel"`

	// From is the sender ID of SMS and MMS: a name of at most 11 letters and
	// digits, a number in E.164, or a short code. Empty on SMS: the provider's
	// shared number; MMS documents none, so that it must be given there.
	From string `json:"from,omitempty"`
	// Body is the template of an SMS or MMS.
	Body string `json:"body,omitempty"`
	// Subject is the template of an MMS's subject, MaxSubject characters once rendered.
	Subject string `json:"subject,omitempty"`
	// PlainPunctuation replaces typographic punctuation in what was rendered,
	// by the table of the function of that name. SMS and MMS.
	PlainPunctuation bool `json:"plain_punctuation,omitempty"`

	// FixedLines sends also to numbers that messages do not reach by their kind:
	// fixed lines, toll-free numbers and the like. SMS and MMS.
	FixedLines bool `json:"fixed_lines,omitempty"`

	// Media is the picture of an MMS.
	Media *File `json:"media,omitempty"`
	// Files are the printed matter: one for a letter (none when FileColumn is
	// set), one with two pages or two (front, back) for a postcard.
	Files []File `json:"files,omitempty"`
	// FileColumn names the field that holds the path of each recipient's own
	// letter.
	FileColumn string `json:"file_column,omitempty"`

	Colour       bool `json:"colour,omitempty"`        // letters; else black and white
	Duplex       bool `json:"duplex,omitempty"`        // letters; else one side
	Priority     bool `json:"priority,omitempty"`      // letters
	TemplateUsed bool `json:"template_used,omitempty"` // letters: the file follows the provider's layout and carries the address itself
	// Household sends one to an address, whoever lives there. Letters that all
	// get, and postcards.
	Household bool `json:"household,omitempty"`
	// ReturnAddressID is the provider's id of the return address; letters and
	// postcards must have one.
	ReturnAddressID int64 `json:"return_address_id,omitempty"`

	// Country is the ISO 3166-1 alpha-2 code handed to the provider for numbers
	// that are not in international format. Ours always are.
	Country string `json:"country,omitempty"`
	// Schedule is the hour handed to the provider, in unix seconds; 0 is now.
	// Not on MMS, whose request documents no schedule.
	Schedule int64 `json:"schedule,omitempty"`
}

// Limits are what an account allows. The zero value stands for the documented
// defaults, when the account was not asked.
type Limits struct {
	// MaxParts is the number of parts beyond which the provider cuts an SMS
	// off; 0 is DefaultMaxParts.
	MaxParts int `json:"max_parts,omitempty"`
	// UnicodeAllowed is the account's setting_unicode_sms. No document says
	// what that setting does (shared/api/semantics.md, section 10), and the
	// documented example of an account that sends Unicode has it off, so that
	// off refuses nothing: the plan warns when Unicode messages meet it.
	UnicodeAllowed bool `json:"unicode_allowed,omitempty"`
}

// What the provider documents (shared/api/semantics.md, section 10, unless
// another source is given).
const (
	DefaultMaxParts   = 6       // an SMS longer than this is cut off unless the account says otherwise
	MaxSenderName     = 11      // characters of an alphanumeric sender ID
	MaxSubject        = 20      // characters of an MMS subject
	MaxMMSBody        = 1500    // characters of an MMS body within GSM 03.38
	MaxMMSUnicodeBody = 500     // characters of any other MMS body
	MaxMediaSize      = 250_000 // bytes of an MMS file: 250 kB, read the careful way
	MaxPostcardFiles  = 2

	mostDocumentedParts = 8 // the credit tables end here
)

// AccountLimits reads the limits out of GET /account: its
// setting_sms_message_char_limit and setting_unicode_sms. The former is the
// number of parts, 6 or 8 in the documents; they also show 140, which cannot
// be one. What lies outside 1 to 8 is taken for the documented default.
func AccountLimits(messageCharLimit, unicodeSMS int) Limits {
	l := Limits{MaxParts: DefaultMaxParts, UnicodeAllowed: unicodeSMS != 0}
	if messageCharLimit >= 1 && messageCharLimit <= mostDocumentedParts {
		l.MaxParts = messageCharLimit
	}
	return l
}

func (l Limits) maxParts() int {
	if l.MaxParts > 0 {
		return l.MaxParts
	}
	return DefaultMaxParts
}

// Problem is one thing wrong with a campaign's content.
type Problem struct {
	Field string // as the flag or key of campaign.yaml is called, without dashes: from, body, media
	Text  string // what is wrong, what was expected, what to do
}

func (p Problem) String() string { return p.Field + ": " + p.Text }

// Problems is everything wrong with a content, in the order of the form. It is
// the cause inside the error of Validate.
type Problems []Problem

func (ps Problems) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return strings.Join(texts, "; ")
}

func (ps *Problems) add(field, format string, args ...any) {
	*ps = append(*ps, Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

// Validate checks the content against every rule that can be known before a
// recipient is. The error has CodeInvalid and holds Problems with all that is
// wrong, so that it can be mended in one go.
func (c *Content) Validate(limits Limits) error {
	var ps Problems
	if _, err := ParseChannel(string(c.Channel)); err != nil {
		ps.add("channel", "%q is not known: use sms, mms, letter or postcard", string(c.Channel))
	} else {
		c.checkForeignParts(&ps)
		if c.Channel.IsPhone() {
			c.checkSender(&ps)
			c.checkText(limits, &ps)
		}
		switch c.Channel {
		case MMS:
			c.checkMedia(&ps)
		case Letter:
			c.checkLetter(&ps)
		case Postcard:
			c.checkPostcard(&ps)
		}
		c.checkCommon(&ps)
	}
	if len(ps) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Message: "this cannot be sent", Err: ps}
}

// checkForeignParts refuses what the channel has no use for: an option that
// would be ignored is a message other than the one that was meant.
func (c *Content) checkForeignParts(ps *Problems) {
	phone, mms, letter := c.Channel.IsPhone(), c.Channel == MMS, c.Channel == Letter
	for _, f := range []struct {
		field string
		given bool
		use   bool
		of    string
	}{
		{"from", c.From != "", phone, "SMS and MMS have a sender; on post the return address tells it"},
		{"body", c.Body != "", phone, "letters and postcards are printed from a file: put the text there"},
		{"subject", c.Subject != "", mms, "only an MMS has a subject"},
		{"plain_punctuation", c.PlainPunctuation, phone, "only SMS and MMS have a body to apply it to"},
		{"fixed_lines", c.FixedLines, phone, "letters and postcards go to addresses"},
		{"dedupe", c.Household, !phone, "SMS and MMS go to numbers, one to each"},
		{"media", c.Media != nil, mms, "only an MMS has a media file; letters and postcards take --file"},
		{"file", len(c.Files) > 0, !phone, "SMS and MMS have no printed file; an MMS takes --media"},
		{"file_column", c.FileColumn != "", letter, "only letters can have a file per recipient"},
		{"colour", c.Colour, letter, "only letters have this option"},
		{"duplex", c.Duplex, letter, "only letters have this option"},
		{"priority", c.Priority, letter, "only letters have this option"},
		{"template_used", c.TemplateUsed, letter, "only letters have this option"},
		{"return_address", c.ReturnAddressID != 0, !phone, "only letters and postcards have a return address"},
	} {
		if f.given && !f.use {
			ps.add(f.field, "does not go with %s: %s; leave it out", c.Channel, f.of)
		}
	}
}

// checkSender applies the rules for a sender ID: 002:332 (11 characters, no
// spaces) and 003:354 (shared number, number in E.164, business name).
func (c *Content) checkSender(ps *Problems) {
	from := c.From
	digits := len(strings.Trim(from, "0123456789")) == 0
	switch {
	case from == "" && c.Channel == MMS:
		ps.add("from", "is empty, and the provider documents no shared sender for MMS: give a number in E.164 such as +61411111111, or a name")
	case from == "":
	case from[0] == '+':
		if n := from[1:]; len(n) < 7 || len(n) > 15 || n[0] == '0' || strings.Trim(n, "0123456789") != "" {
			ps.add("from", "begins with + and is not a number in E.164: write + , country code and number, 7 to 15 digits without spaces, such as +61411111111")
		}
	case strings.ContainsFunc(from, unicode.IsSpace):
		ps.add("from", "%q has a space: a sender name is at most %d letters and digits without spaces, such as %s", from, MaxSenderName, senderSuggestion(from))
	case digits && len(from) > 6:
		ps.add("from", "looks like a phone number without its country: write it in E.164, with + and country code, such as +61411111111")
	case digits && len(from) < 3:
		ps.add("from", "%q is too short for a short code (3 to 6 digits): give a number in E.164 or a name", from)
	case strings.ContainsFunc(from, func(r rune) bool { return !isASCIIAlphanumeric(r) }):
		ps.add("from", "%q has characters other than letters and digits: a sender name is at most %d of A-Z, a-z, 0-9, such as %s", from, MaxSenderName, senderSuggestion(from))
	case len(from) > MaxSenderName:
		ps.add("from", "%q has %d characters and a sender name at most %d: shorten it", from, len(from), MaxSenderName)
	}
}

func isASCIIAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
}

// senderSuggestion is the name with everything left out that it may not have.
func senderSuggestion(from string) string {
	var b strings.Builder
	for _, r := range from {
		if isASCIIAlphanumeric(r) && b.Len() < MaxSenderName {
			b.WriteRune(r)
		}
	}
	if strings.Trim(b.String(), "0123456789") == "" {
		return "ACME"
	}
	return b.String()
}

// SenderTakesReplies reports whether the sender can be answered: a name cannot.
func (c *Content) SenderTakesReplies() bool {
	return c.Channel.IsPhone() && strings.Trim(c.From, "+0123456789") == ""
}

// checkText compiles body and subject and checks what is fixed in them.
func (c *Content) checkText(limits Limits, ps *Problems) {
	body, err := compileTemplate(c.Body)
	switch {
	case blank(c.finish(c.Body)):
		ps.add("body", "is empty: say what to send, for instance --body 'Hi {{first_name|there}}'")
	case err != nil:
		ps.add("body", "%v", err)
	default:
		refuseCampaignPlaceholders("body", c.Body, ps)
		fixed := CountParts(c.finish(body.literal()))
		switch {
		case c.Channel == SMS && fixed.Count > limits.maxParts():
			ps.add("body", "has %d parts before any field is filled in, and the account allows %d: what is longer would be cut off, so shorten it", fixed.Count, limits.maxParts())
		case c.Channel == MMS && fixed.Units > mmsBodyLimit(fixed):
			ps.add("body", "has %d characters (%s) before any field is filled in, and an MMS holds %d: what is longer would be cut off, so shorten it", fixed.Units, fixed.Encoding(), mmsBodyLimit(fixed))
		}
	}
	if c.Channel != MMS {
		return
	}
	subject, err := compileTemplate(c.Subject)
	switch {
	case blank(c.finish(c.Subject)):
		ps.add("subject", "is empty, and an MMS must have one: give at most %d characters", MaxSubject)
	case err != nil:
		ps.add("subject", "%v", err)
	default:
		refuseCampaignPlaceholders("subject", c.Subject, ps)
		if n := utf16Units(c.finish(subject.literal())); n > MaxSubject {
			ps.add("subject", "has %d characters, and an MMS subject at most %d: shorten it", n, MaxSubject)
		}
	}
}

// finish applies what is done to every rendered text.
func (c *Content) finish(text string) string {
	if c.PlainPunctuation {
		return PlainPunctuation(text)
	}
	return text
}

// mmsBodyLimit is how many characters an MMS body may have. The documents say
// "characters"; we count septets or UTF-16 units, so that nothing is cut
// whichever way they count.
func mmsBodyLimit(p Parts) int {
	if p.Unicode {
		return MaxMMSUnicodeBody
	}
	return MaxMMSBody
}

func utf16Units(s string) (n int) {
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// refuseCampaignPlaceholders refuses the placeholders of the provider's
// campaigns endpoints, which may arrive literally from the endpoints used here
// (shared/api/PROVIDER.md, Sending; the spellings are those of
// shared/api/semantics.md, section 21).
func refuseCampaignPlaceholders(field, text string, ps *Problems) {
	lower := strings.ToLower(text)
	for _, p := range []struct{ placeholder, instead string }{
		{"(First Name)", "write {{first_name}}, or {{first_name|there}} with a default"},
		{"(Last Name)", "write {{last_name}}, or {{last_name|there}} with a default"},
		{"StopMsg.me/xxxxx", "ask for a reply such as STOP (with a number as sender), or give a link of your own"},
		{"smsu.io/xxxxx", "write the link itself"},
		{"sm-su.io/xxxxx", "write the link itself"},
		{"smsg.io/xxxxx", "write the link itself"},
	} {
		if strings.Contains(lower, strings.ToLower(p.placeholder)) {
			ps.add(field, "has %s, which only the provider's campaigns endpoints fill in and which would arrive as it stands: %s", p.placeholder, p.instead)
		}
	}
}

func (c *Content) checkMedia(ps *Problems) {
	if c.Media == nil {
		ps.add("media", "is missing: an MMS carries one picture (%s, at most 250 kB)", strings.Join(mmsTypes(), ", "))
		return
	}
	c.Media.check("media", MMS, ps)
}

func (c *Content) checkLetter(ps *Problems) {
	switch {
	case c.FileColumn != "" && len(c.Files) > 0:
		ps.add("file", "a letter has either one file for all (--file) or a file per recipient (--file-column): leave one out")
	case c.FileColumn != "" && !isFieldName(c.FileColumn):
		ps.add("file_column", "%q is not the name of a field: use letters, digits and _ as in the imported list", c.FileColumn)
	case c.FileColumn != "" && c.Household:
		ps.add("dedupe", "each of these letters is somebody's own, so that none can stand for the others of a household: leave it out")
	case c.FileColumn == "" && len(c.Files) != 1:
		ps.add("file", "a letter has exactly one file, and %d were given: use --file letter.pdf, or --file-column for a file per recipient", len(c.Files))
	}
	c.checkFiles(ps)
}

func (c *Content) checkPostcard(ps *Problems) {
	if n := len(c.Files); n < 1 || n > MaxPostcardFiles {
		ps.add("file", "a postcard has one file with two pages, or two (front, then back), and %d were given", n)
	} else {
		for i := range c.Files {
			if _, ok := PostcardPages(n, c.Files[i].Pages); !ok {
				ps.add("file", "%s: %s", c.Files[i].Name, PostcardPagesText(n, c.Files[i].Pages))
			}
		}
	}
	c.checkFiles(ps)
}

func (c *Content) checkFiles(ps *Problems) {
	for i := range c.Files {
		c.Files[i].check("file", c.Channel, ps)
	}
	if c.ReturnAddressID <= 0 {
		ps.add("return_address", "is missing, and every %s must have one: choose an id from `postrider address ls`, or make one with `postrider address add`", c.Channel)
	}
}

func (c *Content) checkCommon(ps *Problems) {
	if c.Country != "" && (len(c.Country) != 2 || strings.Trim(c.Country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "") {
		ps.add("country", "%q is not a country code: write two capitals as in ISO 3166-1, such as AU", c.Country)
	}
	switch {
	case c.Schedule != 0 && c.Channel == MMS:
		ps.add("schedule", "the provider documents no schedule for MMS, so that it would leave at once: let the campaign start at that hour (--at)")
	case c.Schedule < 0 || c.Schedule > 1<<31-1:
		ps.add("schedule", "%d is not a time in unix seconds (int32), such as 1429170372", c.Schedule)
	}
}

// FileKey tells the file or pair of files that one request carries; batches
// are cut by it. It is empty on SMS, and where FileColumn is set (the key is
// then each recipient's, PlannedBatch.FileKey).
func (c *Content) FileKey() string {
	if c.Media != nil {
		return c.Media.Key()
	}
	keys := make([]string, len(c.Files))
	for i := range c.Files {
		keys[i] = c.Files[i].Key()
	}
	return strings.Join(keys, " ")
}

// Digest is a stable hash, 64 hexadecimal digits, of what a recipient would
// receive and from whom, for the guard against sending the same twice. When it
// would be sent and how fast (schedule, priority), what files are called and
// the country for short numbers are not part of it; who of the audience gets it
// is, where that can be chosen.
func (c *Content) Digest() string {
	h := sha256.New()
	write := func(values ...string) {
		var n [8]byte
		for _, v := range values {
			binary.BigEndian.PutUint64(n[:], uint64(len(v)))
			h.Write(n[:])
			h.Write([]byte(v))
		}
	}
	write("content 1", string(c.Channel), c.From, c.Body, c.Subject, c.FileKey(), c.FileColumn)
	write(fmt.Sprint(c.PlainPunctuation, c.Colour, c.Duplex, c.TemplateUsed, c.ReturnAddressID))
	if c.FixedLines {
		write("fixed lines")
	}
	if c.Household {
		write("household")
	}
	return hex.EncodeToString(h.Sum(nil))
}
