package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// Preparer makes campaigns of orders, for a person at the command line and for
// a schedule alike: it checks the order, stores its files, loads the audience,
// plans and prices. Nothing leaves before a campaign is approved.
type Preparer struct {
	Ledger   *ledger.Ledger
	Provider *Provider
	Log      *slog.Logger

	Actor string // who asks: a person's login, or the part of Postrider
	Dir   string // relative paths start here; empty: the working directory
	// Confined: the paths of a file column do not lead out of the folder that they
	// start from, since whoever wrote them may not read everything.
	Confined   bool
	RejectsDir string // where dropped rows are listed
	Country    string // of numbers written without one, when the order names none
	// Stdin is the audience that Stdin names; nil: there is none.
	Stdin io.Reader

	// Now is the clock by which a start is in the past; time.Now when nil.
	Now func() time.Time
	// Meter shows how far a long step is; nil shows nothing.
	Meter func(what, unit string) Meter
	// Waits is called when the same campaign is being prepared elsewhere, or its
	// preparation was interrupted: it is waited for up to 30 s. May be nil.
	Waits func()
}

// Meter shows how far one step is. Total is 0 when nobody knows.
type Meter interface {
	Report(done, total int)
	End()
}

// noMeter shows nothing.
type noMeter struct{}

func (noMeter) Report(int, int) {}
func (noMeter) End()            {}

func (p *Preparer) meter(what, unit string) Meter {
	if p.Meter == nil {
		return noMeter{}
	}
	return p.Meter(what, unit)
}

func (p *Preparer) now() time.Time {
	if p.Now == nil {
		return time.Now()
	}
	return p.Now()
}

// path resolves a path against the folder that paths start from.
func (p *Preparer) path(name string) string {
	if p.Dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir, name)
}

// Preparation is an order on its way to a campaign.
type Preparation struct {
	Order    *Order
	Account  *clicksend.Account
	Identity ledger.Provider
	Limits   campaign.Limits
	Content  campaign.Content
	Audience *Audience
	Segment  campaign.Segment // of the audience
	StartAt  time.Time        // in the zone of the order; zero: as soon as approved
	Timing   campaign.Timing
	// HeldUntil is when the provider lets the messages go, which it gets as soon
	// as they are approved; in the zone of the order. Zero: at once.
	HeldUntil time.Time
	Budget    *campaign.Micros

	Campaign *ledger.Campaign // once drafted
	Quote    Quote            // once priced

	// Replaces is a campaign that has not started, and whose place this one is to
	// take; 0: none.
	Replaces int64

	// Run is the claimed run that the campaign is made for; nil: none.
	Run *ledger.Run

	p        *Preparer
	excluded []excluded // by the segment
	stop     func()     // ends KeepPlanning
	settled  bool       // kept or approved: nothing is to be discarded
}

// Check finds every mistake of an order that can be found without the database
// and the provider. They are of kind *OrderError.
func (p *Preparer) Check(o *Order) error {
	_, err := o.check(p.now())
	return err
}

// Prepare checks an order against the account, stores its files and loads its
// audience. Discard, sooner or later, is the caller's duty.
func (p *Preparer) Prepare(ctx context.Context, o *Order) (*Preparation, error) {
	return p.PrepareAudience(ctx, o, func(ctx context.Context, c *campaign.Content) (*Audience, error) { return p.audience(ctx, o, c) })
}

// PrepareAudience is Prepare with an audience that load makes, when everything
// else was found to be right. What the order's To names tells where the paths
// of a file column start from.
func (p *Preparer) PrepareAudience(ctx context.Context, o *Order, load func(context.Context, *campaign.Content) (*Audience, error)) (*Preparation, error) {
	t, err := o.check(p.now())
	if err != nil {
		return nil, err
	}
	r := &Preparation{p: p, Order: o, StartAt: t.startAt, Timing: t.timing, Budget: t.budget, Content: o.content(t.channel), Segment: t.segment}
	if t.held {
		r.StartAt, r.HeldUntil = time.Time{}, t.startAt
		r.Content.Schedule = t.startAt.Unix()
	}
	if r.excluded, err = p.findExcluded(ctx, o, r.Segment); err != nil {
		return nil, err
	}
	if r.Account, err = p.Provider.Account(ctx); err != nil {
		return nil, Explain(err)
	}
	if r.Identity, err = p.Provider.Identity(ctx); err != nil {
		return nil, Explain(err)
	}
	r.Limits = AccountLimits(r.Account)
	if err := r.readFiles(ctx); err != nil {
		return nil, err
	}
	if err := r.Content.Validate(r.Limits); err != nil {
		return nil, o.contentError(err)
	}
	if t.channel.IsPost() {
		if err := r.checkReturnAddress(ctx); err != nil {
			return nil, err
		}
	}
	if r.Audience, err = load(ctx, &r.Content); err != nil {
		return nil, err
	}
	return r, nil
}

// AccountLimits are what an account allows.
func AccountLimits(a *clicksend.Account) campaign.Limits {
	unicode := 0
	if a.UnicodeSMS {
		unicode = 1
	}
	return campaign.AccountLimits(int(a.MaxSMSParts), unicode)
}

// contentError says what is wrong with the content, with the file it stands in.
func (o *Order) contentError(err error) error {
	return &OrderError{File: o.file, Text: err.Error(), Err: err}
}

// readFiles stores the files that the content refers to.
func (r *Preparation) readFiles(ctx context.Context) error {
	o := r.Order
	read := func(flag, path string) (campaign.File, error) {
		if !strings.Contains(path, "://") {
			path = r.p.path(path)
		}
		f, err := ReadFile(ctx, r.p.Ledger, r.Content.Channel, path)
		switch code := campaign.ErrorCode(err); {
		case err != nil && (code == campaign.CodeNotFound || code == campaign.CodeInvalid):
			return f, o.errorf(flag, ": %w", err)
		case err != nil:
			return f, fmt.Errorf("--%s: %w", flag, err)
		}
		return f, nil
	}
	if o.Media != "" {
		f, err := read("media", o.Media)
		if err != nil {
			return err
		}
		r.Content.Media = &f
	}
	for _, path := range o.Files {
		f, err := read("file", path)
		if err != nil {
			return err
		}
		r.Content.Files = append(r.Content.Files, f)
	}
	return nil
}

// checkReturnAddress refuses a return address that the account does not have:
// the provider would refuse every single recipient for it.
func (r *Preparation) checkReturnAddress(ctx context.Context) error {
	_, err := r.p.Provider.ReturnAddress(ctx, r.Content.ReturnAddressID)
	switch {
	case err == nil:
		return nil
	case clicksend.KindOf(err) == clicksend.NotFound:
		return campaign.Errorf(campaign.CodeNotFound, "--return-address: the account has no return address %d: `postrider address ls` lists them", r.Content.ReturnAddressID)
	case clicksend.KindOf(err) == clicksend.RateLimited:
		return fmt.Errorf("the provider is busy and did nothing: try again in a moment: %w", err)
	}
	return Explain(err)
}

// audience finds the named list, or imports the file.
func (p *Preparer) audience(ctx context.Context, o *Order, c *campaign.Content) (*Audience, error) {
	if name, ok := strings.CutPrefix(o.To, "list:"); ok {
		list, err := p.Ledger.FindList(ctx, name)
		if err != nil {
			return nil, err
		}
		return &Audience{List: list}, nil
	}
	country := o.Country
	if country == "" {
		country = p.Country
	}
	assigned, header, err := o.Columns.Read()
	if err != nil {
		return nil, err
	}
	return p.Import(ctx, ImportRequest{
		File: o.To, Country: strings.ToUpper(country), Identity: c.Identity(), FileColumn: c.FileColumn,
		FileReading: o.Reading, Map: assigned, Header: header, ShowValues: o.Columns.ShowValues,
	})
}

// Draft writes the campaign and its plan. A rehearsal is a draft that is never
// approved: nothing stands in its way. The same campaign, unfinished or of the
// last day, is a *ledger.SimilarError.
func (r *Preparation) Draft(ctx context.Context, rehearsal bool) error {
	if err := knowsFields(&r.Content, r.Limits, r.Audience.List); err != nil {
		return err
	}
	if err := r.checkWhere(); err != nil {
		return err
	}
	segment, err := r.segmentDigest()
	if err != nil {
		return err
	}
	digest := digest(r.Audience.List, &r.Content, r.Identity, segment)
	again := r.Order.Again || rehearsal
	if !again {
		if err := r.p.refuseSimilar(ctx, digest, r.Replaces); err != nil {
			return err
		}
	}
	c, err := r.p.Ledger.CreateCampaign(ctx, ledger.NewCampaign{
		Name: r.Order.Name, Content: r.Content, ListID: r.Audience.List.ID, Digest: digest, Provider: r.Identity,
		Currency: r.Account.Currency.Code, StartAt: r.StartAt, Timing: r.Timing, Budget: r.Budget, Actor: r.p.Actor, Again: again, Replaces: r.Replaces,
	})
	if err != nil {
		return err
	}
	r.Campaign = c // discarding it takes its audience along
	r.stop = KeepPlanning(ctx, r.p.Ledger, c.ID)
	selector, err := r.selector(ctx)
	if err != nil {
		return err
	}
	bar := r.p.meter("planning", "recipients")
	_, err = Plan(ctx, r.p.Ledger, c, r.Limits, PlanOptions{
		Unique:  r.Audience.List.Identity == c.Content.Identity().String() && c.Content.FileColumn == "",
		FileDir: r.p.filesFrom(r.Order.To), Confined: r.p.Confined, Segment: selector, Progress: bar.Report,
	})
	bar.End()
	if err != nil {
		return err
	}
	if r.Campaign, err = r.p.Ledger.Campaign(ctx, c.ID); err != nil {
		return err
	}
	if plan := r.Campaign.Plan; plan.Sendable == 0 {
		return &NobodyError{Total: plan.Total, Suppressed: plan.Suppressed, Segment: plan.Segment}
	}
	return nil
}

// NobodyError says that a plan came to nobody who can be sent to.
type NobodyError struct {
	Total      int            // contacts of the audience
	Suppressed map[string]int // by reason
	// Segment is which contacts were to be sent to; nil: all.
	Segment *campaign.Selection
}

func (e *NobodyError) Error() string {
	if s := e.Segment; s != nil && e.Total == 0 {
		return fmt.Sprintf("of the %d contacts nobody is in the segment (%s): nothing was sent", s.Of, s.Steps())
	}
	return fmt.Sprintf("nobody of the %d contacts can be sent to: nothing was sent", e.Total)
}

// Price asks the provider what the campaign costs. It is quoted then. Actor and
// progress are the preparer's.
func (r *Preparation) Price(ctx context.Context, o QuoteOptions) error {
	bar := r.p.meter("pricing", "messages")
	o.Actor, o.Progress = r.p.Actor, bar.Report
	q, err := MakeQuote(ctx, r.p.Ledger, r.p.Provider, r.Campaign, o)
	bar.End()
	if err != nil {
		return Explain(err)
	}
	r.Quote = q
	r.Campaign, err = r.p.Ledger.Campaign(ctx, r.Campaign.ID)
	return err
}

// Zone is the one in which the order names its hour.
func (r *Preparation) Zone() *time.Location {
	if !r.HeldUntil.IsZero() {
		return r.HeldUntil.Location()
	}
	return r.StartAt.Location()
}

// Approve starts the campaign at the price it was quoted at, now or at its hour.
func (r *Preparation) Approve(ctx context.Context) error {
	err := r.p.Ledger.Approve(ctx, r.Campaign.ID, ledger.Approval{Quote: r.Quote.ID, Actor: r.p.Actor, Run: r.Run})
	if err == nil {
		r.settle()
	}
	return err
}

// Keep leaves the draft, or the quoted campaign, until somebody starts or
// cancels it. It takes the place of the one that it replaces.
func (r *Preparation) Keep(ctx context.Context) (err error) {
	if r.Replaces != 0 {
		err = r.p.Ledger.ReplaceCampaign(ctx, r.Replaces, r.Campaign.ID, r.p.Actor)
	} else {
		err = r.p.Ledger.KeepDraft(ctx, r.Campaign.ID)
	}
	if err == nil {
		r.settle()
	}
	return err
}

func (r *Preparation) settle() {
	r.settled = true
	r.stop()
}

// Discard removes what was prepared, unless it was approved or kept. The
// context may have ended.
func (r *Preparation) Discard(ctx context.Context) error {
	if r == nil || r.p == nil || r.settled {
		return nil
	}
	r.settled = true
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	switch {
	case r.Campaign != nil:
		if r.stop != nil {
			r.stop()
		}
		if err := r.p.Ledger.DiscardUnstarted(clean, r.Campaign.ID); err != nil {
			return fmt.Errorf("the draft could not be removed: %w", err)
		}
	case r.Audience != nil && r.Audience.List.Name == "":
		if err := r.p.Ledger.RemoveList(clean, r.Audience.List.ID); err != nil {
			return fmt.Errorf("the imported audience could not be removed: %w", err)
		}
	}
	return nil
}

// filesFrom is the folder that paths in a file column start from: that of the
// audience's file, or for a stored list and standard input where all paths start.
func (p *Preparer) filesFrom(to string) string {
	if strings.HasPrefix(to, "list:") || to == Stdin {
		return p.path(".")
	}
	return filepath.Dir(p.path(to))
}

// digest tells whether two campaigns are the same: audience, content and
// sender, from the same account. A rehearsal against a sandbox is another one,
// and so is one for another segment, which is empty for everybody.
func digest(list *ledger.List, c *campaign.Content, account ledger.Provider, segment string) string {
	parts := []string{list.Digest, c.Digest(), account.URL, account.User}
	if segment != "" {
		parts = append(parts, segment)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, " ")))
	return hex.EncodeToString(sum[:])
}

// knowsFields refuses a template that names a column which the audience does
// not have at all, before anybody is planned.
func knowsFields(c *campaign.Content, limits campaign.Limits, list *ledger.List) error {
	r, err := campaign.NewRenderer(c, limits)
	if err != nil {
		return &OrderError{Text: err.Error(), Err: err}
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

// refuseSimilar refuses a second campaign of the same. One that has not started
// may be what an interrupted preparation left behind: then it is waited for
// until it shows life or is discarded.
func (p *Preparer) refuseSimilar(ctx context.Context, digest string, replaces int64) error {
	said := false
	for tries := 0; ; tries++ {
		now, err := p.Ledger.Now(ctx)
		if err != nil {
			return err
		}
		same, err := p.Ledger.SimilarCampaign(ctx, digest, replaces, now.Add(-ledger.GuardTime))
		if err != nil || same == nil {
			return err
		}
		if same.Kept || same.State != campaign.Draft && same.State != campaign.Quoted {
			return &ledger.SimilarError{ID: same.ID, Name: same.Name, State: same.State}
		}
		if tries == 30 {
			return campaign.Errorf(campaign.CodeExists, "another process is preparing the same campaign right now (id %d): wait for it, or add --again to send a second time", same.ID)
		}
		if !said && p.Waits != nil {
			p.Waits()
		}
		said = true
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		if _, _, err := p.Ledger.DiscardHalfPlans(ctx); err != nil {
			return err
		}
	}
}

// Explain turns the client's error into what a user can do about it.
func Explain(err error) error {
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
