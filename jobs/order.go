package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/postrider/postrider/campaign"
)

// Order is a campaign as somebody asks for it: with the flags of `postrider
// send`, in a campaign.yaml, or in the definition of a schedule. The keys of
// the files are the names of the flags.
type Order struct {
	Channel string
	To      string // FILE, list:NAME, or Stdin
	Name    string // of the campaign; empty: made from channel and id
	Country string // of numbers written without one; empty: the configured one
	Reading FileReading
	Columns ColumnFlags

	// Which contacts of To; see Segment.
	Where      string
	Exclude    []string
	Sample     string
	SampleSeed string
	Limit      int

	From             string
	Body             string
	Subject          string
	PlainPunctuation bool
	FixedLines       bool     // also to numbers that messages do not reach by their kind
	Dedupe           string   // on post: recipient (also when empty) or household
	Media            string   // a file or URL
	Files            []string // the printed matter
	FileColumn       string
	Colour           bool
	Duplex           bool
	Priority         bool
	TemplateUsed     bool
	ReturnAddress    int64

	At     string // RFC 3339; empty: as soon as approved
	Timing TimingFlags
	HoldAt string // who holds the messages until At: postrider (also when empty) or provider
	Budget string // empty: no cap
	Again  bool   // although the same was sent, or is being sent, already

	flags *pflag.FlagSet // what was given
	file  string         // the name of the file that it was read from; may be empty
	lines map[string]int // by flag name
}

// AddFlags makes the flags of an order.
func (o *Order) AddFlags(f *pflag.FlagSet) {
	o.flags = f
	f.StringVar(&o.Channel, "channel", "", "sms, mms, letter or postcard")
	f.StringVar(&o.To, "to", "", "file (CSV, xlsx, or one of them in gz or zip), - for standard input, or list:NAME")
	f.StringVar(&o.Name, "name", "", "name of the campaign (default: made from channel and id)")
	f.StringVar(&o.Country, "country", "", "country of numbers written without one, such as AU")
	o.Columns.AddFlags(f)
	f.StringVar(&o.Where, "where", "", `only contacts who meet this condition, such as 'city = "Perth" and age >= 18'`)
	f.StringArrayVar(&o.Exclude, "exclude", nil, "leave out whoever is in list:NAME, or was reached by campaign:ID; may be given several times")
	f.StringVar(&o.Sample, "sample", "", "of those only a random part, such as 1%, the same part each time")
	f.StringVar(&o.SampleSeed, "sample-seed", "", "with --sample: any text; another text takes another part (default: made from name and message)")
	f.IntVar(&o.Limit, "limit", 0, "of those at most so many, the first in the order of the list")
	o.Reading.AddFlags(f)
	f.StringVar(&o.From, "from", "", "sender: up to 11 letters and digits, or a number (sms, mms)")
	f.StringVar(&o.Body, "body", "", "the text, with {{field}} or {{field|default}} (sms, mms)")
	f.StringVar(&o.Subject, "subject", "", "subject (mms)")
	f.BoolVar(&o.PlainPunctuation, "plain-punctuation", false, "replace curly quotes and dashes, which make a text dearer (sms, mms)")
	f.BoolVar(&o.FixedLines, "fixed-lines", false, "send also to fixed lines, toll-free numbers and others that messages do not reach by their kind (sms, mms)")
	f.StringVar(&o.Dedupe, "dedupe", "", "who is sent to once: recipient (default), or household, for one to an address whoever lives there (letter, postcard)")
	f.StringVar(&o.Media, "media", "", "picture: a file or a URL (mms)")
	f.StringArrayVar(&o.Files, "file", nil, "file to print: PDF, or DOCX, DOC, JPEG, PNG, GIF or BMP to be converted; twice for a postcard's front and back (letter, postcard)")
	f.StringVar(&o.FileColumn, "file-column", "", "column that names each recipient's own file (letter)")
	f.BoolVar(&o.Colour, "colour", false, "print in colour (letter)")
	f.BoolVar(&o.Duplex, "duplex", false, "print on both sides (letter)")
	f.BoolVar(&o.Priority, "priority", false, "priority post (letter)")
	f.BoolVar(&o.TemplateUsed, "template-used", false, "the file follows the provider's template and bears the address itself (letter)")
	f.Int64Var(&o.ReturnAddress, "return-address", 0, "id of a return address, as postrider address ls shows it (letter, postcard)")
	f.StringVar(&o.At, "at", "", "start at this hour, such as 2026-12-01T09:00:00+11:00")
	o.Timing.AddFlags(f)
	f.StringVar(&o.HoldAt, "hold-at", "", "with --at: who holds the messages until then, postrider (default), or provider, which gets them now (sms, letter, postcard)")
	f.StringVar(&o.Budget, "budget", "", "never spend more than this, such as 250.00")
	f.BoolVar(&o.Again, "again", false, "send although the same was sent, or is being sent, already")
}

// OrderError says which flag or key of an order is wrong. It is wrong usage.
type OrderError struct {
	File string // that the order was read from; empty: it was given in flags
	Line int    // of the file; 0 when the key is missing
	Flag string // without dashes; may be empty
	Text string // what was expected, and what to do, in words that follow the flag
	Err  error  // the cause; its text is part of Text
}

func (e *OrderError) Error() string {
	switch {
	case e.File == "" && e.Flag == "":
		return e.Text
	case e.File == "":
		return "--" + e.Flag + e.Text
	case e.Flag == "":
		return at(e.File, e.Line) + ": " + e.Text
	}
	return at(e.File, e.Line) + ": " + strings.ReplaceAll(e.Flag, "-", "_") + e.Text
}

// Unwrap returns the cause.
func (e *OrderError) Unwrap() error { return e.Err }

// at names a line of a file.
func at(name string, line int) string {
	if line == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(line)
}

// errorf says what is wrong with a flag or key, in words that follow its name.
func (o *Order) errorf(flag, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &OrderError{File: o.file, Line: o.lines[flag], Flag: flag, Text: err.Error(), Err: errors.Unwrap(err)}
}

// given reports whether a flag or key was given, whatever its value.
func (o *Order) given(flag string) bool { return o.flags != nil && o.flags.Changed(flag) }

// ReadOrder reads an order from YAML, strictly: a key that is not known, or a
// value that is not what its key takes, is an *OrderError with the line. Keys
// are written with underscores or dashes. Name is the file's, for errors, and
// first the number of the line that text begins on.
func ReadOrder(name string, first int, text []byte) (*Order, error) {
	o := &Order{file: name, lines: map[string]int{}}
	flags := pflag.NewFlagSet("order", pflag.ContinueOnError)
	o.AddFlags(flags)
	wrong := func(line int, format string, args ...any) error {
		if line > 0 {
			line += first - 1
		}
		return &OrderError{File: name, Line: line, Text: fmt.Sprintf(format, args...)}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, wrong(0, "is empty: write at least channel, to and what to send, such as `channel: sms`")
	} else if err != nil {
		hint := ""
		if strings.Contains(err.Error(), "mapping values") {
			hint = ": put a text that has a colon in it in quotes, or begin it on the next line after `body: |-`"
		}
		return nil, wrong(0, "is not YAML: %s%s", strings.TrimPrefix(err.Error(), "yaml: "), hint)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, wrong(0, "holds more than one YAML document: keep one")
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, wrong(root.Line, "should be lines such as `channel: sms`")
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		flag := flags.Lookup(strings.ReplaceAll(key.Value, "_", "-"))
		if key.Kind != yaml.ScalarNode || flag == nil {
			return nil, wrong(key.Line, "key %q is not known; there are %s", key.Value, keysOf(flags))
		}
		if line := o.lines[flag.Name]; line > 0 {
			return nil, wrong(key.Line, "%s is set a second time; the first is in line %d", key.Value, line)
		}
		o.lines[flag.Name] = key.Line + first - 1
		if err := o.set(flag, value); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// set gives a flag the value of a key.
func (o *Order) set(flag *pflag.Flag, value *yaml.Node) error {
	if value.Kind == yaml.AliasNode {
		value = value.Alias
	}
	if flag.Name == "map" && value.Kind == yaml.MappingNode {
		return o.setMap(value)
	}
	values := []*yaml.Node{value}
	if flag.Value.Type() == "stringArray" && value.Kind == yaml.SequenceNode {
		values = value.Content
	}
	for _, v := range values {
		switch {
		case v.Kind != yaml.ScalarNode:
			return o.errorf(flag.Name, " takes one value, not a list or a group")
		case v.Tag == "!!null":
			continue // `country:` alone leaves it out
		}
		if err := o.flags.Set(flag.Name, v.Value); err != nil {
			what := map[string]string{"bool": "true or false", "int64": "a whole number", "int": "a whole number"}[flag.Value.Type()]
			if what == "" {
				return o.errorf(flag.Name, ": %q cannot be read", v.Value)
			}
			return o.errorf(flag.Name, ": %q is not %s", v.Value, what)
		}
	}
	return nil
}

// setMap gives --map the entries of a group, such as `map: {phone: Handy}`.
func (o *Order) setMap(group *yaml.Node) error {
	for i := 0; i+1 < len(group.Content); i += 2 {
		name, column := group.Content[i], group.Content[i+1]
		if name.Kind != yaml.ScalarNode || column.Kind != yaml.ScalarNode || column.Tag == "!!null" {
			return o.errorf("map", ": %q names no column: write such as `phone: Handy`, and the number of a column in quotes, such as `phone: \"#3\"`", name.Value)
		}
		if err := o.flags.Set("map", name.Value+"="+column.Value); err != nil {
			return o.errorf("map", ": %w", err)
		}
	}
	return nil
}

// keysOf lists the keys of an order.
func keysOf(flags *pflag.FlagSet) string {
	var all []string
	flags.VisitAll(func(f *pflag.Flag) { all = append(all, strings.ReplaceAll(f.Name, "-", "_")) })
	return strings.Join(all, ", ")
}

// terms are what an order says in words that must be understood first.
type terms struct {
	channel campaign.Channel
	budget  *campaign.Micros
	startAt time.Time // in the zone it was written in
	timing  campaign.Timing
	held    bool // until then by the provider, which gets the messages now
	segment campaign.Segment
}

// check finds every mistake that can be found without the database and the
// provider.
func (o *Order) check(now time.Time) (*terms, error) {
	t := &terms{}
	var err error
	if o.Channel == "" {
		return nil, o.errorf("channel", " is missing: sms, mms, letter or postcard")
	}
	if t.channel, err = campaign.ParseChannel(o.Channel); err != nil {
		return nil, o.errorf("channel", ": %w", err)
	}
	if o.Name != "" {
		if err := campaign.CheckName("campaign", o.Name); err != nil {
			return nil, o.errorf("name", ": %w", err)
		}
	}
	if o.To == "" {
		return nil, o.errorf("to", " is missing: a CSV file, or list:NAME")
	}
	if err := o.checkReading(); err != nil {
		return nil, err
	}
	if err := o.refuseForeign(t.channel); err != nil {
		return nil, err
	}
	switch {
	case o.Dedupe != "" && o.Dedupe != "recipient" && o.Dedupe != "household":
		return nil, o.errorf("dedupe", ": %q is neither recipient nor household", o.Dedupe)
	case o.Dedupe == "household" && o.FileColumn != "":
		return nil, o.errorf("dedupe", " household does not go with --file-column: each of these letters is somebody's own, so that none can stand for the others of a household; leave it out")
	}
	if o.given("return-address") && o.ReturnAddress <= 0 {
		return nil, o.errorf("return-address", ": %d is no return address: `postrider address ls` lists them", o.ReturnAddress)
	}
	if o.Budget != "" {
		b, err := ParseBudget(o.Budget)
		if err != nil {
			return nil, o.errorf("budget", ": %w", err)
		}
		t.budget = &b
	}
	if o.At != "" {
		if t.startAt, err = ParseAt(o.At, now); err != nil {
			return nil, o.errorf("at", ": %w", err)
		}
	}
	if t.timing, err = o.timing(); err != nil {
		return nil, err
	}
	if err := o.checkHold(t, now); err != nil {
		return nil, err
	}
	if t.segment, err = o.Segment(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(o.To, "list:") {
		if o.Country != "" {
			return nil, o.errorf("country", " means nothing with a stored list: its numbers were read when it was imported")
		}
		for _, flag := range []string{"map", "header", "show-values"} {
			if o.given(flag) {
				return nil, o.errorf(flag, " means nothing with a stored list: its file was read when it was imported")
			}
		}
	}
	var ce *ColumnError
	if _, _, err := o.Columns.Read(); errors.As(err, &ce) {
		return nil, o.errorf(ce.Flag, ": %w", ce.Err)
	}
	return t, nil
}

// timing is when messages may leave.
func (o *Order) timing() (campaign.Timing, error) {
	if o.At == "" && o.Timing.HasLate() {
		flag := "if-late"
		if o.Timing.IfLate == "" {
			flag = "late-limit"
		}
		return campaign.Timing{}, o.errorf(flag, " means nothing without --at: a campaign that starts at once is never late")
	}
	t, err := o.Timing.Change(campaign.Timing{})
	var te *TimingError
	if errors.As(err, &te) {
		return t, o.errorf(te.Flag, ": %w", te.Err)
	}
	return t, err
}

// checkHold reads who holds the messages until their hour.
func (o *Order) checkHold(t *terms, now time.Time) error {
	switch {
	case o.HoldAt == "":
		return nil
	case o.HoldAt != "postrider" && o.HoldAt != "provider":
		return o.errorf("hold-at", ": %q is neither postrider nor provider", o.HoldAt)
	case o.At == "":
		return o.errorf("hold-at", " says who holds the messages until their hour: name that with at")
	case o.HoldAt == "postrider":
		return nil
	case t.channel == campaign.MMS:
		return o.errorf("hold-at", ": the provider documents no schedule for MMS, so that it would send at once: leave it out, and Postrider holds them")
	case !t.startAt.After(now):
		return o.errorf("at", ": %s is over: the provider would send at once", o.At)
	case t.startAt.After(now.Add(historyReach)):
		return o.errorf("hold-at", ": %s is more than four months ahead, farther than the provider's history reaches, from which lost answers are found out: leave it out, and Postrider holds them", o.At)
	}
	if o.Timing.HasWindow() {
		return o.errorf("window", " does not go with --hold-at provider: what the provider holds leaves it at its hour, whatever the window; leave one of them out")
	}
	t.held = true
	return nil
}

// ParseAt reads when a campaign starts.
func ParseAt(s string, now time.Time) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	switch {
	case err != nil:
		return t, fmt.Errorf("%q is not a time such as 2026-12-01T09:00:00+11:00 (RFC 3339, with its zone)", s)
	case t.Before(now.Add(-time.Minute)):
		return t, fmt.Errorf("%s is in the past", s)
	case t.After(now.AddDate(1, 0, 0)):
		return t, fmt.Errorf("%s is more than a year ahead, which is the limit: is the year right?", s)
	}
	return t, nil
}

// ParseBudget reads a spend cap.
func ParseBudget(s string) (campaign.Micros, error) {
	b, err := campaign.ParseMicros(s)
	if err != nil || b < 0 {
		return 0, fmt.Errorf("%q is not an amount such as 250.00", s)
	}
	return b, nil
}

// refuseForeign refuses what means nothing on the channel: it is never ignored.
func (o *Order) refuseForeign(c campaign.Channel) error {
	phone, post, letter := []campaign.Channel{campaign.SMS, campaign.MMS}, []campaign.Channel{campaign.Letter, campaign.Postcard}, []campaign.Channel{campaign.Letter}
	for _, f := range []struct {
		name  string
		given bool
		on    []campaign.Channel
	}{
		{"from", o.From != "", phone},
		{"body", o.Body != "", phone},
		{"plain-punctuation", o.PlainPunctuation, phone},
		{"fixed-lines", o.FixedLines, phone},
		{"dedupe", o.Dedupe != "", post},
		{"subject", o.Subject != "", []campaign.Channel{campaign.MMS}},
		{"media", o.Media != "", []campaign.Channel{campaign.MMS}},
		{"file", len(o.Files) > 0, post},
		{"return-address", o.ReturnAddress != 0, post},
		{"file-column", o.FileColumn != "", letter},
		{"colour", o.Colour, letter},
		{"duplex", o.Duplex, letter},
		{"priority", o.Priority, letter},
		{"template-used", o.TemplateUsed, letter},
	} {
		if f.given && !slices.Contains(f.on, c) {
			return o.errorf(f.name, " means nothing on %s: leave it out", c)
		}
	}
	return nil
}

// content is what the order sends, without its files.
func (o *Order) content(c campaign.Channel) campaign.Content {
	return campaign.Content{
		Channel: c, From: o.From, Body: o.Body, Subject: o.Subject, PlainPunctuation: o.PlainPunctuation,
		FixedLines: o.FixedLines, Household: o.Dedupe == "household",
		FileColumn: o.FileColumn, Colour: o.Colour, Duplex: o.Duplex, Priority: o.Priority, TemplateUsed: o.TemplateUsed,
		ReturnAddressID: o.ReturnAddress,
	}
}
