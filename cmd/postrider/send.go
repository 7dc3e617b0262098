package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
	"github.com/spf13/cobra"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// sendRequest is what `postrider send` was asked for.
type sendRequest struct {
	channel string
	to      string // FILE or list:NAME
	name    string
	country string
	content campaign.Content
	media   string
	files   []string
	at      string
	budget  string
	yes     bool
	wait    bool
	dryRun  bool
	testTo  string
	testRow int
	again   bool
}

func (m *Main) sendCommand() *cobra.Command {
	var r sendRequest
	cmd := &cobra.Command{
		Use:   "send --channel CHANNEL --to FILE|list:NAME ...",
		Short: "Send a message to everybody in a file or list, after showing its price",
		Example: `  postrider send --channel sms --to people.csv --from ACME --body 'Hi {{first_name|there}}, ...' --country AU
  postrider send --channel mms --to list:vips --from +61411111111 --subject Sale --body '...' --media sale.jpg
  postrider send --channel letter --to people.csv --file letter.pdf --colour --return-address 4
  postrider send --channel postcard --to people.csv --file front.pdf --file back.pdf --return-address 4`,
		Args: exactArgs(0, "no arguments but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.refuseWithTest(cmd.Flags().Changed("test-row")); err != nil {
				return err
			}
			if cmd.Flags().Changed("return-address") && r.content.ReturnAddressID <= 0 {
				return usagef("--return-address: %d is no return address: `postrider address ls` lists them", r.content.ReturnAddressID)
			}
			err := m.send(cmd.Context(), &r)
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return stopf("interrupted before anything was sent; nothing is kept")
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.channel, "channel", "", "sms, mms, letter or postcard")
	f.StringVar(&r.to, "to", "", "CSV file, or list:NAME")
	f.StringVar(&r.name, "name", "", "name of the campaign (default: made from channel and id)")
	f.StringVar(&r.country, "country", "", "country of numbers written without one, such as AU")
	f.StringVar(&r.content.From, "from", "", "sender: up to 11 letters and digits, or a number (sms, mms)")
	f.StringVar(&r.content.Body, "body", "", "the text, with {{field}} or {{field|default}} (sms, mms)")
	f.StringVar(&r.content.Subject, "subject", "", "subject (mms)")
	f.BoolVar(&r.content.PlainPunctuation, "plain-punctuation", false, "replace curly quotes and dashes, which make a text dearer (sms, mms)")
	f.StringVar(&r.media, "media", "", "picture: a file or a URL (mms)")
	f.StringArrayVar(&r.files, "file", nil, "file to print: PDF, or DOCX, DOC, JPEG, PNG, GIF or BMP to be converted; twice for a postcard's front and back (letter, postcard)")
	f.StringVar(&r.content.FileColumn, "file-column", "", "column that names each recipient's own file (letter)")
	f.BoolVar(&r.content.Colour, "colour", false, "print in colour (letter)")
	f.BoolVar(&r.content.Duplex, "duplex", false, "print on both sides (letter)")
	f.BoolVar(&r.content.Priority, "priority", false, "priority post (letter)")
	f.BoolVar(&r.content.TemplateUsed, "template-used", false, "the file follows the provider's template and bears the address itself (letter)")
	f.Int64Var(&r.content.ReturnAddressID, "return-address", 0, "id of a return address, as postrider address ls shows it (letter, postcard)")
	f.StringVar(&r.at, "at", "", "start at this hour, such as 2026-12-01T09:00:00+11:00")
	f.StringVar(&r.budget, "budget", "", "never spend more than this, such as 250.00")
	f.BoolVar(&r.yes, "yes", false, "do not ask")
	f.BoolVar(&r.wait, "wait", false, "wait until the campaign has ended")
	f.BoolVar(&r.dryRun, "dry-run", false, "show plan, price and five messages; send nothing")
	f.StringVar(&r.testTo, "test-to", "", "send one rendered message to this number, and start no campaign (sms, mms)")
	f.IntVar(&r.testRow, "test-row", 1, "which contact's message --test-to sends, from 1")
	f.BoolVar(&r.again, "again", false, "send although the same was sent, or is being sent, already")
	return cmd
}

// prepared is a request that was checked before anything was opened.
type prepared struct {
	channel campaign.Channel
	budget  *campaign.Micros
	startAt time.Time
}

// check finds every mistake that can be found without the database and the
// provider.
func (m *Main) check(r *sendRequest) (*prepared, error) {
	p := &prepared{}
	var err error
	if r.channel == "" {
		return nil, usagef("--channel is missing: sms, mms, letter or postcard")
	}
	if p.channel, err = campaign.ParseChannel(r.channel); err != nil {
		return nil, &usageError{err}
	}
	if r.name != "" {
		if err := checkName("campaign", r.name); err != nil {
			return nil, err
		}
	}
	if r.to == "" {
		return nil, usagef("--to is missing: a CSV file, or list:NAME")
	}
	if err := r.refuseForeignFlags(p.channel); err != nil {
		return nil, err
	}
	if p.budget, err = parseBudget(r.budget); err != nil {
		return nil, err
	}
	if r.at != "" {
		if p.startAt, err = time.Parse(time.RFC3339, r.at); err != nil {
			return nil, usagef("--at: %q is not a time such as 2026-12-01T09:00:00+11:00 (RFC 3339, with its zone)", r.at)
		}
		if p.startAt.Before(time.Now().Add(-time.Minute)) {
			return nil, usagef("--at: %s is in the past", r.at)
		}
		if p.startAt.After(time.Now().AddDate(1, 0, 0)) {
			return nil, usagef("--at: %s is more than a year ahead, which is the limit: is the year right?", r.at)
		}
	}
	switch {
	case r.testTo != "" && p.channel.IsPost():
		return nil, usagef("--test-to sends to a phone number: on %s use --dry-run, and a campaign with one row of your own address", p.channel)
	case r.testTo != "" && r.dryRun:
		return nil, usagef("--test-to sends something and --dry-run sends nothing: choose one")
	case r.country != "" && r.testTo == "" && strings.HasPrefix(r.to, "list:"):
		return nil, usagef("--country means nothing with a stored list: its numbers were read when it was imported")
	case r.testRow < 1:
		return nil, usagef("--test-row counts from 1")
	case !r.yes && !r.dryRun && !m.atTerminal():
		return nil, usagef("there is no terminal to ask for a yes: add --yes once you have seen --dry-run, nothing was sent")
	}
	return p, nil
}

// parseBudget reads --budget; nil when it was not given.
func parseBudget(s string) (*campaign.Micros, error) {
	if s == "" {
		return nil, nil
	}
	b, err := campaign.ParseMicros(s)
	if err != nil || b < 0 {
		return nil, usagef("--budget: %q is not an amount such as 250.00", s)
	}
	return &b, nil
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
	}{{"--name", r.name != ""}, {"--budget", r.budget != ""}, {"--at", r.at != ""}, {"--wait", r.wait}, {"--again", r.again}} {
		if f.given {
			return usagef("--test-to sends one message and starts no campaign: leave %s out", f.name)
		}
	}
	return nil
}

// refuseForeignFlags refuses flags that mean nothing on the channel: they are
// never ignored.
func (r *sendRequest) refuseForeignFlags(c campaign.Channel) error {
	for _, f := range []struct {
		name  string
		given bool
		on    []campaign.Channel
	}{
		{"--from", r.content.From != "", []campaign.Channel{campaign.SMS, campaign.MMS}},
		{"--body", r.content.Body != "", []campaign.Channel{campaign.SMS, campaign.MMS}},
		{"--plain-punctuation", r.content.PlainPunctuation, []campaign.Channel{campaign.SMS, campaign.MMS}},
		{"--subject", r.content.Subject != "", []campaign.Channel{campaign.MMS}},
		{"--media", r.media != "", []campaign.Channel{campaign.MMS}},
		{"--file", len(r.files) > 0, []campaign.Channel{campaign.Letter, campaign.Postcard}},
		{"--return-address", r.content.ReturnAddressID != 0, []campaign.Channel{campaign.Letter, campaign.Postcard}},
		{"--file-column", r.content.FileColumn != "", []campaign.Channel{campaign.Letter}},
		{"--colour", r.content.Colour, []campaign.Channel{campaign.Letter}},
		{"--duplex", r.content.Duplex, []campaign.Channel{campaign.Letter}},
		{"--priority", r.content.Priority, []campaign.Channel{campaign.Letter}},
		{"--template-used", r.content.TemplateUsed, []campaign.Channel{campaign.Letter}},
	} {
		if !f.given {
			continue
		}
		fits := false
		for _, on := range f.on {
			fits = fits || on == c
		}
		if !fits {
			return usagef("%s means nothing on %s: leave it out", f.name, c)
		}
	}
	return nil
}

// send is the main job: audience, plan, price, yes, and off.
func (m *Main) send(ctx context.Context, r *sendRequest) error {
	p, err := m.check(r)
	if err != nil {
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
	provider, limiter, closeProvider, err := m.pricingProvider(ctx, l)
	if err != nil {
		return err
	}
	defer closeProvider()
	account, err := provider.Account(ctx)
	if err != nil {
		return explainProvider(err)
	}
	limits := campaign.AccountLimits(int(account.MaxSMSParts), flag01(account.UnicodeSMS))
	if err := m.readFiles(ctx, l, r, p.channel); err != nil {
		return err
	}
	if err := r.content.Validate(limits); err != nil {
		return &usageError{err}
	}
	if p.channel.IsPost() {
		if err := checkReturnAddress(ctx, provider, r.content.ReturnAddressID); err != nil {
			return err
		}
	}
	audience, err := m.audience(ctx, l, r, p.channel)
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			m.dropAudience(ctx, l, audience.List)
		}
	}()
	if r.testTo != "" {
		if r.testTo, err = m.testNumber(r); err != nil {
			return err
		}
		return m.sendTest(ctx, l, provider, r, limits, audience.List)
	}
	if err := knowsFields(&r.content, limits, audience.List); err != nil {
		return err
	}
	identity, err := provider.Identity(ctx)
	if err != nil {
		return explainProvider(err)
	}
	digest := sendDigest(audience.List, &r.content, identity)
	if err := m.guard(ctx, l, r, digest); err != nil {
		return err
	}
	c, err := l.CreateCampaign(ctx, ledger.NewCampaign{
		Name: r.name, Content: r.content, ListID: audience.List.ID, Digest: digest, Provider: identity,
		Currency: account.Currency.Code, StartAt: p.startAt, Budget: p.budget, Actor: m.who(), Again: r.again || r.dryRun,
	})
	var same *ledger.SimilarError
	if errors.As(err, &same) { // another send was quicker
		return sentAlready(same)
	}
	if err != nil {
		return err
	}
	keep = true // discarding the draft takes its audience along
	started := false
	defer func() {
		if !started {
			m.discard(ctx, l, c.ID)
		}
	}()
	defer jobs.KeepPlanning(ctx, l, c.ID)()
	quote, err := m.planAndPrice(ctx, l, provider, c, r, limits, audience)
	if err != nil {
		return err
	}
	if c, err = l.Campaign(ctx, c.ID); err != nil {
		return err
	}
	offer := &offer{campaign: c, quote: quote, audience: audience, host: m.hostName(ctx), rate: m.allowedRate(ctx, limiter, provider, c), zone: p.startAt.Location(),
		balance: campaign.Micros(account.Balance), recharge: account.AutoRecharge}
	if r.dryRun {
		return m.showDryRun(offer)
	}
	m.showOffer(offer)
	if refused := refusals(quote); refused == quote.Messages {
		return fmt.Errorf("the provider would refuse every message (%s): nothing was sent", list(quote.Refusals))
	}
	if p.budget != nil && quote.Total > *p.budget {
		return stopf("the quote of %s %s exceeds the budget of %s: nothing was sent", quote.Total, quote.Currency, *p.budget)
	}
	if !p.startAt.After(time.Now()) || r.wait { // else this process sends nothing
		if err := m.sayOthers(ctx, l, c.ID); err != nil {
			return err
		}
	}
	if !r.yes {
		if ok, err := m.ask(ctx, fmt.Sprintf("Send to %s recipients for %s %s?", number(c.Plan.Sendable), quote.Total, quote.Currency)); err != nil {
			return err
		} else if !ok {
			return stopf("not sent: nobody said yes")
		}
	}
	to := campaign.Sending
	if p.startAt.After(time.Now()) {
		to = campaign.Scheduled
	}
	if err := l.Approve(ctx, c.ID, ledger.Approval{To: to, Actor: m.who()}); err != nil {
		return err
	}
	started = true
	return m.follow(ctx, l, c.ID, r.wait, p.startAt.Location())
}

func flag01(b bool) int {
	if b {
		return 1
	}
	return 0
}

// pricingProvider makes the account for everything before the start. It shares
// the rate budget of the workers where there is a Redis to share it through.
func (m *Main) pricingProvider(ctx context.Context, l *ledger.Ledger) (*jobs.Provider, *ratelimit.Limiter, func(), error) {
	limiter := ratelimit.New(nil, m.rateOptions())
	done := func() {}
	if !m.cfg.UsesEmbeddedRedis() {
		e, err := m.openQueue(ctx)
		if err != nil {
			return nil, nil, nil, err
		}
		limiter, done = e.limiter, e.close
	}
	p, err := m.openProvider(l, limiter)
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return p, limiter, func() { p.Close(); done() }, nil
}

// refusals is how many messages the provider says it would refuse.
func refusals(q jobs.Quote) (n int) {
	for _, k := range q.Refusals {
		n += k
	}
	return n
}

// explainProvider turns the client's error into what a user can do about it.
func explainProvider(err error) error {
	switch clicksend.KindOf(err) {
	case clicksend.Unauthorised:
		return fmt.Errorf("the provider refuses the user name or the API key: check CLICKSEND_USERNAME and CLICKSEND_API_KEY, and that CLICKSEND_BASE_URL is the host they belong to: %w", err)
	case clicksend.Forbidden:
		return fmt.Errorf("the provider refuses this account: it may be banned or not activated: %w", err)
	case clicksend.NotFound:
		return fmt.Errorf("this is not the API: CLICKSEND_BASE_URL must end in /v3: %w", err)
	case clicksend.NotSent, clicksend.Unanswered:
		return fmt.Errorf("the provider cannot be reached; nothing was sent: %w", err)
	}
	return err
}

// readFiles stores the files that the content refers to.
func (m *Main) readFiles(ctx context.Context, l *ledger.Ledger, r *sendRequest, c campaign.Channel) error {
	r.content.Channel = c
	read := func(flag, path string) (campaign.File, error) {
		if !strings.Contains(path, "://") {
			path = m.path(path)
		}
		f, err := jobs.ReadFile(ctx, l, path)
		switch {
		case campaign.ErrorCode(err) == campaign.CodeNotFound:
			return f, usagef("%s: %w", flag, err)
		case err != nil:
			return f, fmt.Errorf("%s: %w", flag, err)
		}
		return f, nil
	}
	if r.media != "" {
		f, err := read("--media", r.media)
		if err != nil {
			return err
		}
		r.content.Media = &f
	}
	for _, path := range r.files {
		f, err := read("--file", path)
		if err != nil {
			return err
		}
		r.content.Files = append(r.content.Files, f)
	}
	return nil
}

// audience finds the named list, or imports the file.
func (m *Main) audience(ctx context.Context, l *ledger.Ledger, r *sendRequest, c campaign.Channel) (*importResult, error) {
	if name, ok := strings.CutPrefix(r.to, "list:"); ok {
		list, err := l.FindList(ctx, name)
		if err != nil {
			return nil, err
		}
		return &importResult{List: list}, nil
	}
	country := r.country
	if country == "" {
		country = m.cfg.Country
	}
	return m.importAudience(ctx, l, importRequest{File: r.to, Country: strings.ToUpper(country), Identity: r.content.Identity(), FileColumn: r.content.FileColumn})
}

// knowsFields refuses a template that names a column which the audience does
// not have at all, before anybody is planned.
func knowsFields(c *campaign.Content, limits campaign.Limits, list *ledger.List) error {
	r, err := campaign.NewRenderer(c, limits)
	if err != nil {
		return &usageError{err}
	}
	has := campaign.Contact{Fields: campaign.Fields{Columns: campaign.NewColumns(list.Columns...), Values: make([]string, len(list.Columns))}}
	own := "no columns of its own"
	if len(list.Columns) > 0 {
		own = strings.Join(list.Columns, ", ")
	}
	if c.FileColumn != "" {
		if _, ok := has.Field(c.FileColumn); !ok {
			return campaign.Errorf(campaign.CodeInvalid, "--file-column %s: %s has no such column; it has %s; nothing was sent", c.FileColumn, list.Source, own)
		}
	}
	var missing []string
	for _, f := range r.Required() {
		if _, ok := has.Field(f); !ok {
			missing = append(missing, f)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return campaign.Errorf(campaign.CodeInvalid,
		"the message uses {{%s}}, and %s has no such column: besides phone, email, first_name, last_name, country, reference and address_… it has %s; nothing was sent",
		strings.Join(missing, "}}, {{"), list.Source, own)
}

// dropAudience removes what was imported for a campaign that came to nothing.
func (m *Main) dropAudience(ctx context.Context, l *ledger.Ledger, list *ledger.List) {
	if list.Name != "" {
		return
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := l.RemoveList(clean, list.ID); err != nil {
		fmt.Fprintln(m.Stderr, "postrider: the imported audience could not be removed:", err)
	}
}

// discard removes a campaign that never started.
func (m *Main) discard(ctx context.Context, l *ledger.Ledger, id int64) {
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := l.DiscardUnstarted(clean, id); err != nil {
		fmt.Fprintln(m.Stderr, "postrider: the draft could not be removed:", err)
	}
}

// sendDigest tells whether two sends are the same: audience, content and
// sender, from the same account. A rehearsal against a sandbox is another one.
func sendDigest(list *ledger.List, c *campaign.Content, account ledger.Provider) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{list.Digest, c.Digest(), account.URL, account.User}, " ")))
	return hex.EncodeToString(sum[:])
}

// guard refuses a second send of the same thing.
func (m *Main) guard(ctx context.Context, l *ledger.Ledger, r *sendRequest, digest string) error {
	if r.again || r.dryRun {
		return nil
	}
	same, err := m.similar(ctx, l, digest)
	if err != nil || same == nil {
		return err
	}
	return sentAlready(&ledger.SimilarError{ID: same.ID, Name: same.Name, State: same.State})
}

// sentAlready says what stands in the way of a send, and how to go on.
func sentAlready(same *ledger.SimilarError) error {
	how := fmt.Sprintf("see `postrider campaign status %d`", same.ID)
	switch same.State {
	case campaign.Paused:
		how = fmt.Sprintf("go on with `postrider campaign resume %d`", same.ID)
	case campaign.Sending:
		how += "; if no worker runs, `postrider serve` goes on with it"
	}
	return campaign.Errorf(campaign.CodeExists, "%w: %s; to send it a second time all the same, add --again", same, how)
}

// similar finds a campaign that sends the same. One that has not started may
// be what an interrupted send left behind: then it is waited for until it
// shows life or is discarded.
func (m *Main) similar(ctx context.Context, l *ledger.Ledger, digest string) (*ledger.Campaign, error) {
	said := false
	for tries := 0; ; tries++ {
		now, err := l.Now(ctx)
		if err != nil {
			return nil, err
		}
		same, err := l.SimilarCampaign(ctx, digest, now.Add(-ledger.GuardTime))
		if err != nil || same == nil || same.State != campaign.Draft && same.State != campaign.Quoted {
			return same, err
		}
		if tries == 30 {
			return nil, campaign.Errorf(campaign.CodeExists, "another process is preparing the same campaign right now (id %d): wait for it, or add --again to send a second time", same.ID)
		}
		if !said {
			fmt.Fprintln(m.Stderr, "postrider: the same campaign is being prepared, or its preparation was interrupted: waiting up to 30 s to see which")
			said = true
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if _, _, err := l.DiscardHalfPlans(ctx); err != nil {
			return nil, err
		}
	}
}

// filesFrom is the folder that paths in a file column start from: that of the
// audience's file, or the working directory for a stored list.
func (m *Main) filesFrom(to string) string {
	if strings.HasPrefix(to, "list:") {
		return m.path(".")
	}
	return filepath.Dir(m.path(to))
}

// planAndPrice makes the plan and its quote.
func (m *Main) planAndPrice(ctx context.Context, l *ledger.Ledger, p *jobs.Provider, c *ledger.Campaign, r *sendRequest, limits campaign.Limits, a *importResult) (jobs.Quote, error) {
	bar := m.newMeter("planning", "recipients")
	_, err := jobs.Plan(ctx, l, c, limits, jobs.PlanOptions{
		Unique:  a.List.Identity == c.Content.Identity().String() && c.Content.FileColumn == "",
		FileDir: m.filesFrom(r.to), Progress: bar.report,
	})
	bar.end()
	if err != nil {
		return jobs.Quote{}, err
	}
	planned, err := l.Campaign(ctx, c.ID)
	if err != nil {
		return jobs.Quote{}, err
	}
	if planned.Plan.Sendable == 0 {
		return jobs.Quote{}, fmt.Errorf("nobody of the %s contacts can be sent to (%s): nothing was sent", number(planned.Plan.Total), list(planned.Plan.Suppressed))
	}
	bar = m.newMeter("pricing", "messages")
	q, err := jobs.MakeQuote(ctx, l, p, planned, jobs.QuoteOptions{Actor: m.who(), Progress: bar.report})
	bar.end()
	if err != nil {
		return q, explainProvider(err)
	}
	return q, nil
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
func (m *Main) allowedRate(ctx context.Context, limiter *ratelimit.Limiter, p *jobs.Provider, c *ledger.Campaign) float64 {
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
func (m *Main) sendTest(ctx context.Context, l *ledger.Ledger, p *jobs.Provider, r *sendRequest, limits campaign.Limits, list *ledger.List) error {
	renderer, err := campaign.NewRenderer(&r.content, limits)
	if err != nil {
		return &usageError{err}
	}
	contact, err := nthContact(ctx, l, list, r.testRow)
	if err != nil {
		return err
	}
	msg, err := renderer.Render(contact)
	if err != nil {
		return err
	}
	msg.To = r.testTo
	price, currency, err := p.PriceOne(ctx, &r.content, msg)
	if err != nil {
		return explainProvider(err)
	}
	if !r.yes {
		m.say("%s, from %s to %s (contact %d's message), for %s %s:\n\n%s\n", m.hostName(ctx), orNone(msg.From), r.testTo, r.testRow, price, currency, indent(msg.Body))
		if ok, err := m.ask(ctx, "Send this one message?"); err != nil {
			return err
		} else if !ok {
			return stopf("not sent: nobody said yes")
		}
	}
	out, err := p.SendOne(ctx, &r.content, msg)
	if err != nil {
		if clicksend.KindOf(err) == clicksend.UnknownOutcome {
			return fmt.Errorf("nobody knows whether the test message left: look at the phone before you send another: %w", err)
		}
		return explainProvider(err)
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

// testNumber brings the number of --test-to into E.164.
func (m *Main) testNumber(r *sendRequest) (string, error) {
	country := r.country
	if country == "" {
		country = m.cfg.Country
	}
	if country == "" && !strings.HasPrefix(r.testTo, "+") {
		return "", usagef("--test-to: write the number with its country, such as +61412345678, or add --country")
	}
	n, err := phonenumbers.Parse(r.testTo, strings.ToUpper(country))
	if err != nil || !phonenumbers.IsPossibleNumber(n) {
		return "", usagef("--test-to: this is not a phone number: write it like +61412345678")
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}

func nthContact(ctx context.Context, l *ledger.Ledger, list *ledger.List, n int) (*campaign.Contact, error) {
	if n > list.Contacts {
		return nil, usagef("--test-row %d: the audience has %s contacts", n, number(list.Contacts))
	}
	var found *campaign.Contact
	stop := errors.New("found")
	err := l.EachContact(ctx, list.ID, func(c *campaign.Contact) error {
		if n--; n == 0 {
			copied := *c
			found = &copied
			return stop
		}
		return nil
	})
	if err != nil && !errors.Is(err, stop) {
		return nil, err
	}
	return found, nil
}

// offer is everything a person should know before saying yes.
type offer struct {
	campaign *ledger.Campaign
	quote    jobs.Quote
	audience *importResult
	host     string
	rate     float64
	balance  campaign.Micros
	recharge bool           // the account buys credit by itself
	zone     *time.Location // in which --at was typed
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
	m.say("  recipients    %s of %s contacts, in %s", number(plan.Sendable), number(plan.Total), plural(plan.Batches, "request"))
	if len(plan.Suppressed) > 0 {
		m.say("  suppressed    %s", list(plan.Suppressed))
	}
	a := o.audience
	if a.RejectsFile != "" {
		m.say("  dropped rows  %s rejected, %s: see %s", number(a.List.Rejected), plural(a.List.Duplicates, "duplicate"), a.RejectsFile)
	}
	if c.Channel == campaign.SMS {
		m.say("  parts         %s (the longest message has %d)", number(o.quote.Parts), plan.Longest.Parts)
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
		m.say("  will refuse   %s", list(o.quote.Refusals))
	}
	m.say("  price         %s %s", o.quote.Total, o.quote.Currency)
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
		}
		m.say("  budget        %s %s, %s", *c.Budget, o.quote.Currency, note)
	}
	if !c.StartAt.IsZero() {
		m.say("  starts        %s", c.StartAt.In(o.zone).Format(time.RFC3339))
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

// dryRunJSON is what --dry-run --json prints.
type dryRunJSON struct {
	DryRun      bool                 `json:"dry_run"`
	Channel     campaign.Channel     `json:"channel"`
	Host        string               `json:"host"`
	Sender      string               `json:"sender,omitempty"`
	Plan        campaign.PlanSummary `json:"plan"`
	Quoted      campaign.Micros      `json:"quoted"`
	Budget      *campaign.Micros     `json:"budget,omitempty"`
	Currency    string               `json:"currency"`
	Refusals    map[string]int       `json:"refusals,omitempty"`
	Rejected    int                  `json:"rejected"`
	Duplicates  int                  `json:"duplicates"`
	RejectsFile string               `json:"rejects_file,omitempty"`
	Seconds     float64              `json:"seconds"`
}

// showDryRun shows plan, price, rejects and five messages.
func (m *Main) showDryRun(o *offer) error {
	if m.json {
		return m.printJSON(dryRunJSON{
			DryRun: true, Channel: o.campaign.Channel, Host: o.host, Sender: o.campaign.Content.From,
			Plan: o.campaign.Plan, Quoted: o.quote.Total, Budget: o.campaign.Budget, Currency: o.quote.Currency, Refusals: o.quote.Refusals,
			Rejected: o.audience.List.Rejected, Duplicates: o.audience.List.Duplicates, RejectsFile: o.audience.RejectsFile,
			Seconds: o.duration().Seconds(),
		})
	}
	m.showOffer(o)
	for _, e := range o.campaign.Plan.Examples[min(1, len(o.campaign.Plan.Examples)):] {
		m.say("%s\n", indent(exampleText(e)))
	}
	m.say("dry run: nothing was sent and nothing is kept")
	return nil
}
