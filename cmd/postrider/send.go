package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// sendRequest is what `postrider send` was asked for.
type sendRequest struct {
	jobs.Order
	yes     bool
	wait    bool
	dryRun  bool
	exact   bool
	testTo  string
	testRow int
}

func (m *Main) sendCommand() *cobra.Command {
	var r sendRequest
	cmd := &cobra.Command{
		Use:   "send --channel CHANNEL --to FILE|list:NAME ...",
		Short: "Send a message to everybody in a file or list, after showing its price",
		Example: `  postrider send --channel sms --to people.csv --from ACME --body 'Hi {{first_name|there}}, ...' --country AU
  postrider send --channel mms --to list:vips --from +61411111111 --subject Sale --body '...' --media sale.jpg
  postrider send --channel sms --to people.csv --from ACME --body '...' --at 2026-12-01T09:00:00+11:00 --hold-at provider
  postrider send --channel letter --to people.csv --file letter.pdf --colour --return-address 4
  postrider send --channel postcard --to people.csv --file front.pdf --file back.pdf --return-address 4`,
		Args: exactArgs(0, "no arguments but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.refuseWithTest(cmd.Flags().Changed("test-row")); err != nil {
				return err
			}
			err := m.send(cmd.Context(), &r)
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return stopf("interrupted before anything was sent; nothing is kept")
			}
			return err
		},
	}
	f := cmd.Flags()
	r.AddFlags(f)
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.BoolVar(&r.wait, "wait", false, "wait until the campaign has ended")
	f.BoolVar(&r.dryRun, "dry-run", false, "show plan, price and five messages; send nothing")
	f.BoolVar(&r.exact, "exact", false, exactUsage)
	f.StringVar(&r.testTo, "test-to", "", "send one rendered message to this number, and start no campaign (sms, mms)")
	f.IntVar(&r.testRow, "test-row", 1, "which contact's message --test-to sends, from 1")
	return cmd
}

// check finds every mistake that can be found without the database and the
// provider.
func (m *Main) check(r *sendRequest, p *jobs.Preparer) error {
	channel, err := campaign.ParseChannel(r.Channel)
	if err == nil && r.testTo != "" && channel.IsPost() {
		return usagef("--test-to sends to a phone number: on %s use --dry-run, and a campaign with one row of your own address", channel)
	}
	order := r.Order
	if r.testTo != "" {
		order.Country = "" // it is that of the number, also with a stored list
	}
	if err := p.Check(&order); err != nil {
		return err
	}
	switch {
	case r.testTo != "" && r.dryRun:
		return usagef("--test-to sends something and --dry-run sends nothing: choose one")
	case r.testRow < 1:
		return usagef("--test-row counts from 1")
	case r.FromStdin() && !r.yes && !r.dryRun:
		return usagef("with --to - the audience comes from standard input, where nobody can then answer: look at it with --dry-run, and add --yes to send")
	case !r.yes && !r.dryRun && !m.atTerminal():
		return usagef("there is no terminal to ask for a yes: add --yes once you have seen --dry-run, nothing was sent")
	}
	return nil
}

// refuseWithTest refuses flags of a campaign beside --test-to, which starts
// none, and --test-row without it.
func (r *sendRequest) refuseWithTest(row bool) error {
	if r.testTo == "" {
		if row {
			return usagef("--test-row says whose message --test-to sends: add --test-to, or leave it out")
		}
		return nil
	}
	for _, f := range []struct {
		name  string
		given bool
	}{{"--name", r.Name != ""}, {"--budget", r.Budget != ""}, {"--at", r.At != ""}, {"--window", r.Timing.HasWindow()}, {"--if-late", r.Timing.HasLate()}, {"--hold-at", r.HoldAt != ""}, {"--wait", r.wait}, {"--again", r.Again}, {"--exact", r.exact}} {
		if f.given {
			return usagef("--test-to sends one message and starts no campaign: leave %s out", f.name)
		}
	}
	return nil
}

// preparer makes campaigns of what the user asks for.
func (m *Main) preparer(l *ledger.Ledger, p *jobs.Provider) *jobs.Preparer {
	return &jobs.Preparer{
		Ledger: l, Provider: p, Log: m.log(), Actor: m.who(), Dir: m.Dir, RejectsDir: m.path("."), Country: m.cfg.Country, Stdin: m.Stdin,
		Meter: func(what, unit string) jobs.Meter { return m.newMeter(what, unit) },
		Waits: func() {
			fmt.Fprintln(m.Stderr, "postrider: the same campaign is being prepared, or its preparation was interrupted: waiting up to 30 s to see which")
		},
	}
}

// discard removes what was prepared for nothing.
func (m *Main) discard(ctx context.Context, r *jobs.Preparation) {
	if err := r.Discard(ctx); err != nil {
		fmt.Fprintln(m.Stderr, "postrider:", err)
	}
}

// send is the main job: audience, plan, price, yes, and off.
func (m *Main) send(ctx context.Context, r *sendRequest) error {
	if err := m.check(r, m.preparer(nil, nil)); err != nil {
		return err
	}
	l, err := m.openLedger(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if !r.dryRun {
		if err := refuseQuarantined(ctx, l); err != nil {
			return err
		}
	}
	if _, _, err := l.DiscardHalfPlans(ctx); err != nil {
		return err
	}
	provider, closeProvider, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	defer closeProvider()
	order := r.Order
	if r.testTo != "" && strings.HasPrefix(order.To, "list:") {
		order.Country = "" // it is that of the number alone
	}
	p, err := m.preparer(l, provider).Prepare(ctx, &order)
	if err != nil {
		return err
	}
	defer m.discard(ctx, p)
	if r.testTo != "" {
		if r.testTo, err = m.phoneNumber("--test-to", r.testTo, r.Country); err != nil {
			return err
		}
		return m.sendTest(ctx, l, provider, r, p)
	}
	if err := m.draft(ctx, p, r.dryRun); err != nil {
		return err
	}
	if err := p.Price(ctx, m.quoteOptions(p.Content.Channel, r.exact)); err != nil {
		return err
	}
	offer := m.offer(ctx, provider, p)
	if r.dryRun {
		return m.showDryRun(offer)
	}
	m.showOffer(offer)
	if err := affordable(p.Campaign, p.Quote); err != nil {
		return err
	}
	if !p.StartAt.After(time.Now()) || r.wait { // else this process sends nothing
		if err := m.sayOthers(ctx, l, p.Campaign.ID); err != nil {
			return err
		}
	}
	if err := m.wantYes(ctx, r.yes, p.Campaign, p.Quote); err != nil {
		return err
	}
	if err := p.Approve(ctx); err != nil {
		return err
	}
	return m.follow(ctx, l, p.Campaign.ID, r.wait, p.Zone())
}

// draft writes the campaign and its plan.
func (m *Main) draft(ctx context.Context, p *jobs.Preparation, rehearsal bool) error {
	err := p.Draft(ctx, rehearsal)
	var same *ledger.SimilarError
	var nobody *jobs.NobodyError
	switch {
	case errors.As(err, &same):
		return sentAlready(same)
	case errors.As(err, &nobody) && (nobody.Total > 0 || nobody.Segment == nil):
		return fmt.Errorf("nobody of the %s contacts can be sent to (%s): nothing was sent", number(nobody.Total), suppressedText(nobody.Suppressed))
	}
	return err
}

// affordable refuses a quote that nothing, or too much, would come of.
func affordable(c *ledger.Campaign, q jobs.Quote) error {
	if refused := refusals(q); refused == q.Messages {
		return fmt.Errorf("the provider would refuse every message (%s): nothing was sent", list(q.Refusals))
	}
	if c.Budget != nil && q.Total > *c.Budget {
		return stopf("the quote of %s %s exceeds the budget of %s: nothing was sent", q.Total, q.Currency, *c.Budget)
	}
	if c.Budget != nil && q.Total+q.SetAside > *c.Budget {
		return stopf("the quote is %s %s, and %s more is set aside for %s that the provider says it would refuse, should it take them after all: that needs a budget of %s, and it is %s; raise it, or leave those recipients out: nothing was sent",
			q.Total, q.Currency, q.SetAside, plural(refusals(q), "message"), q.Total+q.SetAside, *c.Budget)
	}
	return nil
}

// wantYes asks for approval, unless it was given with the command.
func (m *Main) wantYes(ctx context.Context, yes bool, c *ledger.Campaign, q jobs.Quote) error {
	if yes {
		return nil
	}
	ok, err := m.ask(ctx, fmt.Sprintf("Send to %s recipients for %s %s?", number(c.Plan.Sendable), q.Total, q.Currency))
	if err == nil && !ok {
		return stopf("not sent: nobody said yes")
	}
	return err
}

// pricingProvider makes the account for everything before the start. It shares
// the rate budget of the workers where there is a Redis to share it through.
func (m *Main) pricingProvider(ctx context.Context, l *ledger.Ledger) (*jobs.Provider, func(), error) {
	limiter := ratelimit.New(nil, m.rateOptions())
	done := func() {}
	if !m.cfg.UsesEmbeddedRedis() {
		e, err := m.openQueue(ctx)
		if err != nil {
			return nil, nil, err
		}
		limiter, done = e.limiter, e.close
	}
	p, err := m.openProvider(l, limiter)
	if err != nil {
		done()
		return nil, nil, err
	}
	return p, func() { p.Close(); done() }, nil
}

// refusals is how many messages the provider says it would refuse.
func refusals(q jobs.Quote) (n int) {
	for _, k := range q.Refusals {
		n += k
	}
	return n
}

// sentAlready says what stands in the way of a send, and how to go on.
func sentAlready(same *ledger.SimilarError) error {
	how := fmt.Sprintf("see `postrider campaign status %d`", same.ID)
	switch same.State {
	case campaign.Draft:
		how = fmt.Sprintf("price it with `postrider campaign price %d`, then start it, or end it with `postrider campaign cancel %d`", same.ID, same.ID)
	case campaign.Quoted:
		how = fmt.Sprintf("start it with `postrider campaign start %d`, or end it with `postrider campaign cancel %d`", same.ID, same.ID)
	case campaign.Paused:
		how = fmt.Sprintf("go on with `postrider campaign resume %d`", same.ID)
	case campaign.Sending:
		how += "; if no worker runs, `postrider serve` goes on with it"
	}
	return campaign.Errorf(campaign.CodeExists, "%w: %s; to send it a second time all the same, add --again", same, how)
}

// hostName is what a person should know of where messages go: LIVE or SANDBOX,
// and the host.
func (m *Main) hostName(ctx context.Context) string {
	host := m.cfg.ClickSendBaseURL
	if u, err := url.Parse(host); err == nil {
		host = u.Host
	}
	return m.hostKind(ctx) + " (" + host + ")"
}

// allowedRate is how many requests a second may leave for the campaign.
func (m *Main) allowedRate(ctx context.Context, p *jobs.Provider, c *ledger.Campaign) float64 {
	rate, err := p.Rate(ctx, c.Channel)
	if err != nil {
		return m.cfg.Rate // Redis is away: what is configured
	}
	return rate
}

// ask waits for a yes at the terminal; everything else is a no.
func (m *Main) ask(ctx context.Context, question string) (bool, error) {
	fmt.Fprintf(m.Stderr, "%s Type yes: ", question)
	line := make(chan string, 1)
	failed := make(chan error, 1)
	go func() {
		s, err := bufio.NewReader(m.Stdin).ReadString('\n')
		if err != nil && s == "" {
			failed <- err
			return
		}
		line <- s
	}()
	select {
	case s := <-line:
		s = strings.ToLower(strings.TrimSpace(s))
		return s == "yes" || s == "y", nil
	case <-failed:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// sendTest sends one rendered message to a number of the user's, and starts no
// campaign.
func (m *Main) sendTest(ctx context.Context, l *ledger.Ledger, p *jobs.Provider, r *sendRequest, prep *jobs.Preparation) error {
	renderer, err := campaign.NewRenderer(&prep.Content, prep.Limits)
	if err != nil {
		return &usageError{err}
	}
	contact, err := nthContact(ctx, prep, r.testRow)
	if err != nil {
		return err
	}
	msg, err := renderer.Render(contact)
	if err != nil {
		return err
	}
	msg.To = r.testTo
	price, currency, err := p.PriceOne(ctx, &prep.Content, msg)
	if err != nil {
		return jobs.Explain(err)
	}
	if !r.yes {
		m.say("%s, from %s to %s (contact %d's message), for %s %s:\n\n%s\n", m.hostName(ctx), orNone(msg.From), r.testTo, r.testRow, price, currency, indent(msg.Body))
		if ok, err := m.ask(ctx, "Send this one message?"); err != nil {
			return err
		} else if !ok {
			return stopf("not sent: nobody said yes")
		}
	}
	out, err := p.SendOne(ctx, &prep.Content, msg)
	if err != nil {
		if clicksend.KindOf(err) == clicksend.UnknownOutcome {
			return fmt.Errorf("nobody knows whether the test message left: look at the phone before you send another: %w", err)
		}
		return jobs.Explain(err)
	}
	if out.Verdict() != clicksend.Accepted {
		m.exitCode = exitRefused
	}
	if m.json {
		return m.printJSON(map[string]any{"test": true, "status": out.Status, "price": campaign.Micros(out.Price), "currency": currency, "parts": out.Parts, "message_id": out.MessageID})
	}
	m.say("test message: %s, price %s %s, %s; no campaign was started", out.Status, campaign.Micros(out.Price), currency, plural(int(out.Parts), "part"))
	return nil
}

// nthContact finds a contact of those who would be sent to, counted from 1.
func nthContact(ctx context.Context, prep *jobs.Preparation, n int) (*campaign.Contact, error) {
	var found *campaign.Contact
	stop, seen := errors.New("found"), 0
	err := prep.EachSelected(ctx, func(c *campaign.Contact) error {
		if seen++; seen == n {
			copied := *c
			found = &copied
			return stop
		}
		return nil
	})
	switch {
	case err != nil && !errors.Is(err, stop):
		return nil, err
	case found == nil && !prep.Segment.Everybody():
		return nil, usagef("--test-row %d: the audience has %s of %s contacts that are meant (%s)", n, number(seen), number(prep.Audience.List.Contacts), printable(prep.Segment.String()))
	case found == nil:
		return nil, usagef("--test-row %d: the audience has %s contacts", n, number(seen))
	}
	return found, nil
}

// offer is everything a person should know before saying yes.
type offer struct {
	campaign *ledger.Campaign
	quote    jobs.Quote
	audience *jobs.Audience // nil: it was loaded before
	host     string
	rate     float64
	balance  campaign.Micros
	recharge bool           // the account buys credit by itself
	zone     *time.Location // in which --at was typed
	cancels  float64        // how many messages a second the provider may be asked to cancel
}

// offer gathers what there is to know of a priced campaign.
func (m *Main) offer(ctx context.Context, provider *jobs.Provider, p *jobs.Preparation) *offer {
	return &offer{
		campaign: p.Campaign, quote: p.Quote, audience: p.Audience, host: m.hostName(ctx), rate: m.allowedRate(ctx, provider, p.Campaign),
		zone: p.Zone(), cancels: allowedCancels(ctx, provider, p.Campaign.Channel, m.cfg.Rate), balance: campaign.Micros(p.Account.Balance), recharge: p.Account.AutoRecharge,
	}
}

// duration is how long the campaign takes at the allowed rate.
func (o *offer) duration() time.Duration {
	if o.rate <= 0 || math.IsInf(o.rate, 1) {
		return 0
	}
	return time.Duration(float64(o.campaign.Plan.Batches) / o.rate * float64(time.Second)).Round(time.Second)
}

// showOffer prints host, sender, recipients, parts, price, duration and one
// rendered message.
func (m *Main) showOffer(o *offer) {
	c, plan := o.campaign, o.campaign.Plan
	m.say("Campaign %d %q, %s, through %s", c.ID, c.Name, c.Channel, o.host)
	if c.Channel.IsPhone() {
		m.say("  sender        %s", orNone(c.Content.From))
	} else {
		m.say("  return address %d", c.Content.ReturnAddressID)
	}
	for _, line := range filesText(&c.Content) {
		m.say("  file          %s", line)
	}
	m.showSegment(plan.Segment)
	m.say("  recipients    %s of %s contacts, in %s", number(plan.Sendable), number(plan.Total), plural(plan.Batches, "request"))
	if len(plan.Suppressed) > 0 {
		m.say("  suppressed    %s", suppressedText(plan.Suppressed))
	}
	if a := o.audience; a != nil && a.RejectsFile != "" {
		m.say("  dropped rows  %s rejected, %s: see %s", number(a.List.Rejected), plural(a.List.Duplicates, "duplicate"), a.RejectsFile)
	}
	if c.Channel == campaign.SMS {
		m.say("  parts         %s (the longest message has %d)", number(o.quote.Parts), plan.Longest.Parts)
	}
	if c.Channel.IsPhone() && plan.Shortest != plan.Longest {
		m.say("  lengths       from %s to %s", extentText(plan.Shortest), extentText(plan.Longest))
	}
	if plan.UnicodeMessages > 0 {
		m.showUnicode(plan, o.quote)
	}
	for _, w := range plan.Warnings {
		m.say("  note          %s", w)
	}
	if o.quote.PartsDiffer > 0 {
		m.say("  note          the provider counts the parts of %s messages otherwise than we do; its count is charged", number(o.quote.PartsDiffer))
	}
	if len(o.quote.Refusals) > 0 {
		m.say("  will refuse   %s", list(o.quote.Refusals)) // where, the price says
	}
	m.showQuote(o.quote)
	if o.balance < o.quote.Total {
		note := ""
		if o.recharge {
			note = "; the account is recharged automatically"
		}
		m.say("  balance       %s %s, less than the price%s", o.balance, o.quote.Currency, note)
	}
	if c.Budget != nil {
		note := "never exceeded"
		if o.quote.Total > *c.Budget {
			note = "which the price exceeds: this would not be sent"
		} else if needed := o.quote.Total + o.quote.SetAside; needed > *c.Budget {
			note = fmt.Sprintf("which must be %s, for those who would be refused: this would not be sent", needed)
		}
		m.say("  budget        %s %s, %s", *c.Budget, o.quote.Currency, note)
	}
	if !c.StartAt.IsZero() {
		m.say("  starts        %s", c.StartAt.In(o.zone).Format(time.RFC3339))
	}
	m.showTiming(o)
	if until := heldUntil(c); !until.IsZero() {
		m.say("  held          by the provider, which gets them now and sends them at %s", until.In(o.zone).Format(time.RFC3339))
		m.say("                cancelling all of them there would take about %s at %s, one request each", short(cancelTime(plan.Sendable, o.cancels)), perSecond(o.cancels))
		m.say("                pausing the campaign does not stop what the provider holds")
	}
	if d := o.duration(); d > 0 {
		m.say("  takes about   %s at %.3g requests a second", d, o.rate)
	} else {
		m.say("  takes about   less than a second")
	}
	if len(plan.Examples) > 0 {
		m.say("\n%s\n", indent(exampleText(plan.Examples[0])))
	}
}

// extentText says how long a message is, and whose.
func extentText(e campaign.Extent) string {
	s := plural(e.Units, "character")
	if e.Unicode {
		s += " of Unicode"
	}
	if e.Line > 0 {
		s += fmt.Sprintf(" (line %d)", e.Line)
	}
	return s
}

// showExamples prints the rendered messages after the first, which stands in
// the summary.
func (m *Main) showExamples(plan campaign.PlanSummary) {
	for _, e := range plan.Examples[min(1, len(plan.Examples)):] {
		m.say("%s\n", indent(exampleText(e)))
	}
}

// showUnicode names what makes messages dearer.
func (m *Main) showUnicode(plan campaign.PlanSummary, q jobs.Quote) {
	var chars []string
	for _, ch := range plan.UnicodeCharacters {
		chars = append(chars, fmt.Sprintf("%s (%s) in %s", ch.Character, ch.Code, number(ch.Messages)))
	}
	m.say("  Unicode       %s messages, because of %s", number(plan.UnicodeMessages), strings.Join(chars, ", "))
	if plan.UnicodeParts > 0 {
		m.say("                that costs %s more%s", plural(plan.UnicodeParts, "part"), partsCost(q, plan.UnicodeParts))
	}
	if plan.ExtraParts > 0 {
		m.say("                --plain-punctuation saves %s%s", plural(plan.ExtraParts, "part"), partsCost(q, plan.ExtraParts))
	}
}

// partsCost is what so many parts cost on average, in brackets.
func partsCost(q jobs.Quote, parts int) string {
	if q.Parts == 0 || q.Total == 0 {
		return ""
	}
	return fmt.Sprintf(" (about %s %s)", q.Total/campaign.Micros(q.Parts)*campaign.Micros(parts), q.Currency)
}

// exampleText is a rendered message as a person reads it.
func exampleText(msg campaign.Message) string {
	if msg.To != "" {
		s := "to " + msg.To + ": "
		if msg.Subject != "" {
			s += "[" + msg.Subject + "] "
		}
		return s + msg.Body
	}
	a := msg.Address
	var lines []string
	for _, p := range []string{a.Name, a.Line1, a.Line2, strings.Join(strings.Fields(a.City+" "+a.State+" "+a.PostalCode), " "), a.Country} {
		if p != "" {
			lines = append(lines, p)
		}
	}
	return strings.Join(lines, "\n")
}

// filesText says what is printed, or shown, and how.
func filesText(c *campaign.Content) []string {
	name := func(f campaign.File) string {
		if f.URL != "" {
			return f.URL
		}
		return f.Name
	}
	var lines []string
	if c.Media != nil {
		lines = append(lines, name(*c.Media))
	}
	for _, f := range c.Files {
		lines = append(lines, name(f))
	}
	if c.FileColumn != "" {
		lines = append(lines, "each recipient's own, named in column "+c.FileColumn)
	}
	if c.Channel != campaign.Letter || len(lines) == 0 {
		return lines
	}
	how := []string{"black and white", "one side"}
	if c.Colour {
		how[0] = "colour"
	}
	if c.Duplex {
		how[1] = "both sides"
	}
	if c.Priority {
		how = append(how, "priority post")
	}
	if c.TemplateUsed {
		how = append(how, "bears the address itself")
	}
	lines[0] += " (" + strings.Join(how, ", ") + ")"
	return lines
}

func indent(s string) string { return "    " + strings.ReplaceAll(s, "\n", "\n    ") }

func orNone(s string) string {
	if s == "" {
		return "the provider's shared number"
	}
	return s
}

// offerJSON is what --dry-run and `campaign price` print with --json.
type offerJSON struct {
	ID          int64                `json:"id,omitempty"` // none of a dry run, which keeps nothing
	DryRun      bool                 `json:"dry_run"`
	Channel     campaign.Channel     `json:"channel"`
	Host        string               `json:"host"`
	Sender      string               `json:"sender,omitempty"`
	Plan        campaign.PlanSummary `json:"plan"`
	Quoted      campaign.Micros      `json:"quoted"`
	Basis       string               `json:"basis"`
	Detail      campaign.QuoteDetail `json:"detail"`
	Budget      *campaign.Micros     `json:"budget,omitempty"`
	Currency    string               `json:"currency"`
	Refusals    map[string]int       `json:"refusals,omitempty"`
	Rejected    int                  `json:"rejected"`
	Duplicates  int                  `json:"duplicates"`
	RejectsFile string               `json:"rejects_file,omitempty"`
	Seconds     float64              `json:"seconds"`
	// Window is when messages may leave, WindowTZ on whose clock, and between
	// FirstLeaves and LastLeaves they would at the allowed rate.
	Window      string     `json:"window,omitempty"`
	WindowTZ    string     `json:"window_tz,omitempty"`
	FirstLeaves *time.Time `json:"first_leaves,omitempty"`
	LastLeaves  *time.Time `json:"last_leaves,omitempty"`
	// HeldUntil is when the provider lets the messages go, and CancelSeconds how
	// long cancelling all of them there would take.
	HeldUntil     *time.Time `json:"held_until,omitempty"`
	CancelSeconds float64    `json:"cancel_seconds,omitempty"`
}

func offerOf(o *offer) offerJSON {
	out := offerJSON{
		ID: o.campaign.ID, Channel: o.campaign.Channel, Host: o.host, Sender: o.campaign.Content.From,
		Plan: o.campaign.Plan, Quoted: o.quote.Total, Basis: o.quote.Basis, Detail: o.quote.Detail, Budget: o.campaign.Budget, Currency: o.quote.Currency, Refusals: o.quote.Refusals,
		Seconds: o.duration().Seconds(),
	}
	if t := &o.campaign.Timing; t.Window != nil {
		out.Window, out.WindowTZ = t.Window.String(), t.WindowZone()
		if first, last, err := o.forecast(); err == nil {
			out.FirstLeaves, out.LastLeaves = timeOrNil(first), timeOrNil(last)
		}
	}
	if until := heldUntil(o.campaign); !until.IsZero() {
		out.HeldUntil, out.CancelSeconds = &until, cancelTime(o.campaign.Plan.Sendable, o.cancels).Seconds()
	}
	if a := o.audience; a != nil {
		out.Rejected, out.Duplicates, out.RejectsFile = a.List.Rejected, a.List.Duplicates, a.RejectsFile
	}
	return out
}

// showDryRun shows plan, price, rejects and five messages.
func (m *Main) showDryRun(o *offer) error {
	if m.json {
		out := offerOf(o)
		out.ID, out.DryRun = 0, true
		return m.printJSON(out)
	}
	m.showOffer(o)
	m.showExamples(o.campaign.Plan)
	m.say("dry run: nothing was sent and nothing is kept")
	return nil
}
