package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
)

// ExactUpTo is how many SMS or MMS are priced message by message; more of them,
// and post, by class.
const ExactUpTo = 20_000

// Quote is what pricing a campaign came to.
type Quote struct {
	ledger.Quote
	ID int64 `json:"-"` // of the stored quote, by which it is approved
	// PartsDiffer is how many messages the provider counts in more or fewer
	// parts than we do; its count is the one that is charged.
	PartsDiffer int `json:"parts_differ,omitempty"`
	// Refusals counts the messages that the provider says it would refuse, by
	// its status. Where they are stands in the detail.
	Refusals map[string]int `json:"refusals,omitempty"`
	// SetAside is what a budget must hold beside the total: it is reserved for the
	// messages that would be refused, should the provider take them after all.
	SetAside campaign.Micros `json:"set_aside,omitempty"`
}

// QuoteOptions says how a campaign is priced.
type QuoteOptions struct {
	Actor string
	// Exact has every message priced, however many they are.
	Exact bool
	// ExactUpTo takes the place of the constant of that name; 0: it does not.
	ExactUpTo int
	// Announce is called before the provider is asked for anything.
	Announce func(QuoteEffort)
	Progress Progress
}

// QuoteEffort is what a quote takes. Classes that turn out to be none, since
// their messages differ in price, take more.
type QuoteEffort struct {
	ByClass bool
	Calls   int // price requests
	Uploads int // of files, before them
}

// MakeQuote asks the provider's price endpoint what a campaign costs that has
// not started, stores each recipient's price and then the quote: the campaign
// becomes quoted, or stays so. Price requests are safe to repeat, and are, when
// the provider is busy or away.
func MakeQuote(ctx context.Context, l *ledger.Ledger, p *Provider, c *ledger.Campaign, o QuoteOptions) (Quote, error) {
	r, err := campaign.NewRenderer(&c.Content, c.Plan.Limits)
	if err != nil {
		return Quote{}, err
	}
	q := &quoter{l: l, p: p, c: c, r: r, o: o, tally: campaign.NewQuoteTally(), currency: c.Currency}
	q.pages = countedPages(ctx, l, &c.Content)
	if !o.Exact && (c.Channel.IsPost() || c.Plan.Sendable > cmp.Or(o.ExactUpTo, ExactUpTo)) {
		q.classes = newClasses(q.pages)
		if err := q.survey(ctx); err != nil {
			return Quote{}, fmt.Errorf("pricing: %w", firstReal(err))
		}
	}
	if err := q.announce(ctx); err != nil {
		return Quote{}, err
	}
	if err := q.ask(ctx); err != nil {
		return Quote{}, pricingFailed(firstReal(err))
	}
	quote, err := q.quote(ctx)
	if err != nil {
		return Quote{}, err
	}
	quote.ID, err = l.SetQuote(ctx, c, quote.Quote, o.Actor)
	return quote, err
}

// SkipQuote makes a draft quoted without asking for prices: nothing caps its
// spend then.
func SkipQuote(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign, actor string) (Quote, error) {
	q := Quote{Quote: ledger.Quote{Basis: campaign.BasisNone, Currency: c.Currency, Messages: c.Plan.Sendable, Parts: c.Plan.Parts}}
	var err error
	q.ID, err = l.SetQuote(ctx, c, q.Quote, actor)
	return q, err
}

// pricingFailed says what to do when the provider gives no price.
func pricingFailed(err error) error {
	advice := ""
	switch clicksend.KindOf(err) {
	case clicksend.Unauthorised, clicksend.Forbidden:
		advice = "; mend the account or its credentials, then ask again"
	case clicksend.BadRequest, clicksend.TooLarge, clicksend.Invalid:
		advice = "; the provider refuses the request as a whole: look at its files, sender and return address"
	case clicksend.NotSent, clicksend.RateLimited, clicksend.ServerError, clicksend.Unreadable, clicksend.Unanswered:
		advice = "; nothing starts without a price: ask again when the provider answers"
	}
	return fmt.Errorf("pricing: %w%s", err, advice)
}

// quoter makes one quote.
type quoter struct {
	l *ledger.Ledger
	p *Provider
	c *ledger.Campaign
	r *campaign.Renderer
	o QuoteOptions

	pages   func(fileKey string) int
	classes *classes // nil: every message is priced
	dearest dearest
	uploads int
	calls   atomic.Int64

	// What follows belongs to the one goroutine that writes.
	tally    *campaign.QuoteTally
	differ   int
	guessed  int // messages whose price is that of others of their class
	written  int
	currency string
}

// announce tells what the quote takes.
func (q *quoter) announce(ctx context.Context) error {
	var e QuoteEffort
	if q.classes != nil {
		e = q.classes.effort()
	} else {
		keys, err := q.l.PlannedFiles(ctx, q.c)
		if err != nil {
			return err
		}
		e.Calls, e.Uploads = q.c.Plan.Batches, storedFiles(keys)
	}
	q.uploads = e.Uploads
	if q.o.Announce != nil {
		q.o.Announce(e)
	}
	return nil
}

// storedFiles counts the files that must be uploaded, each once.
func storedFiles(keys []string) int {
	all := map[string]bool{}
	for _, key := range keys {
		for _, k := range strings.Fields(key) {
			if !strings.Contains(k, "://") { // a foreign file, which the provider fetches itself
				all[k] = true
			}
		}
	}
	return len(all)
}

// A parcel is one price request and the batches that are whole with its answer.
// With no messages everything in its batches is known already.
type parcel struct {
	fileKey  string
	messages []outgoing
	slots    []slot // where the answer for each message goes
	batches  []*pricedBatch
}

type slot struct {
	batch   *pricedBatch
	index   int
	country string
}

// pricedBatch is a batch whose prices come together.
type pricedBatch struct {
	ledger.BatchPrices
	refused []string // the provider's status when it would refuse a message; "" when not
}

func newPricedBatch(id int64, n int) *pricedBatch {
	return &pricedBatch{
		BatchPrices: ledger.BatchPrices{Batch: id, Recipients: make([]int64, 0, n), Prices: make([]campaign.Micros, 0, n)},
		refused:     make([]string, 0, n),
	}
}

func (b *pricedBatch) add(recipient int64, price campaign.Micros, refused string) {
	b.Recipients = append(b.Recipients, recipient)
	b.Prices = append(b.Prices, price)
	b.refused = append(b.refused, refused)
}

// priced is a parcel with its answer.
type priced struct {
	*parcel
	rows     []clicksend.Outcome // for each message
	currency string
}

// ask prices what must be priced one by one, several requests at a time, and
// writes everybody's price.
func (q *quoter) ask(ctx context.Context) error {
	whole := ctx
	if q.classes != nil {
		if err := q.priceClasses(ctx); err != nil {
			return err
		}
	}
	results := make(chan priced, 8)
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error {
		defer close(results)
		// The first that fails ends the others, and the reading of the plan.
		requests, ctx := errgroup.WithContext(ctx)
		requests.SetLimit(priceCalls)
		hand := func(r priced) error {
			select {
			case results <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := q.eachParcel(ctx, func(p *parcel) error {
			if len(p.messages) == 0 {
				return hand(priced{parcel: p})
			}
			requests.Go(func() error {
				rows, currency, err := q.price(ctx, p.messages, p.fileKey)
				if err != nil {
					return err
				}
				return hand(priced{p, rows, currency})
			})
			return ctx.Err()
		})
		return errors.Join(requests.Wait(), err)
	})
	work.Go(func() error { return q.write(whole, results) })
	return work.Wait()
}

// priceCalls is how many price requests are under way at a time.
const priceCalls = 8

// eachParcel hands the parcels of the campaign to fn, in order.
func (q *quoter) eachParcel(ctx context.Context, fn func(*parcel) error) error {
	if q.classes != nil {
		return q.eachClassedParcel(ctx, fn)
	}
	return q.l.EachPlannedBatch(ctx, q.c, func(b ledger.PlannedBatch) error {
		p := &parcel{fileKey: b.FileKey}
		pb := newPricedBatch(b.ID, len(b.Recipients))
		p.batches = append(p.batches, pb)
		for i := range b.Recipients {
			rc := &b.Recipients[i]
			m, err := q.outgoing(rc)
			if err != nil {
				return err
			}
			p.messages = append(p.messages, m)
			p.slots = append(p.slots, slot{pb, i, q.country(&rc.Contact)})
			pb.add(rc.ID, 0, "")
		}
		return fn(p)
	})
}

// outgoing renders the message of a recipient.
func (q *quoter) outgoing(rc *ledger.Recipient) (outgoing, error) {
	m, err := q.r.Render(&rc.Contact)
	if err != nil {
		return outgoing{}, err
	}
	ref := campaign.Reference{Ledger: q.l.ID(), Recipient: rc.ID, Attempt: 0}
	return outgoing{recipient: rc.ID, reference: ref.String(), message: m}, nil
}

// country is where a message goes.
func (q *quoter) country(k *campaign.Contact) string {
	if q.c.Channel.IsPost() {
		return k.Address.Country
	}
	return k.Country
}

// price asks for the price of up to a thousand messages.
func (q *quoter) price(ctx context.Context, messages []outgoing, fileKey string) ([]clicksend.Outcome, string, error) {
	j := &job{content: &q.c.Content, messages: messages}
	ans, rows, err := q.p.priceRows(ctx, j, fileKey, func() { q.calls.Add(1) })
	if err != nil {
		return nil, "", err
	}
	out := make([]clicksend.Outcome, len(messages))
	for i, row := range rows {
		out[i] = ans.rows[row]
	}
	return out, ans.currency, nil
}

// partsOf is how many parts of a message are charged: as many as the provider
// counts, where it does.
func (q *quoter) partsOf(m *campaign.Message, o *clicksend.Outcome) int {
	if n := int(o.Parts); n > 0 && !q.c.Channel.IsPost() {
		return n
	}
	return m.Parts
}

// quoteChunk is how many recipients' prices one transaction holds at least.
const quoteChunk = 20_000

// write puts prices into the ledger as they come, and adds them up.
func (q *quoter) write(ctx context.Context, results <-chan priced) error {
	var (
		chunk   []ledger.BatchPrices
		waiting int
	)
	flush := func() error {
		if len(chunk) == 0 {
			return nil
		}
		err := q.l.QuoteBatches(ctx, q.c.ID, chunk)
		q.written += waiting
		if q.o.Progress != nil {
			q.progress()
		}
		chunk, waiting = nil, 0
		return err
	}
	store := func(b *pricedBatch) error {
		chunk = append(chunk, b.BatchPrices)
		if waiting += len(b.Recipients); waiting < quoteChunk && q.classes != nil {
			return nil
		}
		return flush()
	}
	for r := range results {
		if err := q.takeCurrency(r.currency); err != nil {
			return err
		}
		for i := range r.rows {
			q.take(&r, i)
		}
		for _, b := range r.batches {
			if !q.dearest.fill(b) {
				continue
			}
			if err := store(b); err != nil {
				return err
			}
		}
	}
	// Batches of which the provider would refuse everybody were priced before
	// anything had a price.
	for _, b := range q.dearest.unpriced {
		for i := range b.Prices {
			b.Prices[i] = q.dearest.price
			q.dearest.aside += q.dearest.price
		}
		if err := store(b); err != nil {
			return err
		}
	}
	return flush()
}

// take puts the answer for one message of a parcel where it belongs.
func (q *quoter) take(r *priced, i int) {
	o, s, m := &r.rows[i], r.slots[i], &r.messages[i].message
	m0 := campaign.PricedMessages{Country: s.country, File: r.fileKey, Messages: 1, Parts: q.partsOf(m, o), Price: campaign.Micros(o.Price)}
	if o.Verdict() != clicksend.Accepted {
		m0.Refused = string(o.Status)
		s.batch.refused[s.index] = m0.Refused
	} else {
		s.batch.Prices[s.index] = m0.Price
		if m0.Parts != m.Parts {
			q.differ++
		}
	}
	q.tally.Add(m0)
}

func (q *quoter) takeCurrency(code string) error {
	if code == "" {
		return nil
	}
	if q.currency != "" && q.currency != code {
		return fmt.Errorf("the provider quotes in %s and in %s", q.currency, code)
	}
	q.currency = code
	return nil
}

// progress reports how far the quote is. By class, reading everything is half
// the way.
func (q *quoter) progress() {
	done := q.written
	if q.classes != nil {
		done = (q.written + q.classes.messages) / 2
	}
	q.o.Progress(done, q.c.Plan.Sendable)
}

// quote writes down what was added up.
func (q *quoter) quote(ctx context.Context) (Quote, error) {
	rate, err := q.p.Rate(ctx, q.c.Channel)
	if err != nil {
		return Quote{}, fmt.Errorf("asking how fast sending may go: %w", err)
	}
	basis := campaign.BasisExact
	if q.guessed > 0 {
		basis = campaign.BasisClasses
	}
	d := q.tally.Detail(q.c.Channel, q.describeFile)
	d.Shortest, d.Longest = q.c.Plan.Shortest, q.c.Plan.Longest
	d.Calls, d.Uploads, d.Requests = int(q.calls.Load()), q.uploads, q.c.Plan.Batches
	if rate > 0 && !math.IsInf(rate, 1) {
		d.Rate, d.Seconds = rate, int64(math.Ceil(float64(d.Requests)/rate))
	}
	return Quote{
		Quote:       ledger.Quote{Basis: basis, Total: q.tally.Total, Currency: q.currency, Messages: q.tally.Messages, Parts: q.tally.Parts, Detail: d},
		PartsDiffer: q.differ, Refusals: q.tally.Refusals, SetAside: q.dearest.aside,
	}, nil
}

// describeFile tells what is known of a file, or a pair of them, by its key.
func (q *quoter) describeFile(key string) campaign.FileQuote {
	c := &q.c.Content
	f := campaign.FileQuote{Pages: q.pages(key)}
	if c.Channel == campaign.Letter {
		f.Colour, f.Duplex, f.Priority, f.TemplateUsed = c.Colour, c.Duplex, c.Priority, c.TemplateUsed
	}
	if c.FileColumn == "" {
		var names []string
		for _, one := range contentFiles(c) {
			names = append(names, one.Name)
		}
		f.Name = strings.Join(names, ", ")
	} else if strings.Contains(key, "://") {
		f.Name = path.Base(key)
	}
	return f
}

// contentFiles are the files that everybody gets.
func contentFiles(c *campaign.Content) []campaign.File {
	if c.Media != nil {
		return []campaign.File{*c.Media}
	}
	return c.Files
}

// countedPages makes a function that says how many pages the file, or the pair
// of files, of a key has; 0 when nobody has counted them. Only where each
// recipient has a file of its own is the ledger asked, once for each.
func countedPages(ctx context.Context, l *ledger.Ledger, c *campaign.Content) func(key string) int {
	switch {
	case c.Channel.IsPhone():
		return func(string) int { return 0 }
	case c.FileColumn == "":
		n := 0
		for _, f := range c.Files {
			if f.Pages == 0 {
				return func(string) int { return 0 }
			}
			n += f.Pages
		}
		return func(string) int { return n }
	}
	known := map[string]int{}
	return func(key string) int {
		n, asked := known[key]
		if !asked {
			// A file that cannot be read is one whose pages nobody has counted.
			if f, stored, err := l.FindFile(ctx, key); err == nil && stored {
				n = f.Pages
			}
			known[key] = n
		}
		return n
	}
}

// dearest is the highest price of a message in a quote. It is what is set
// aside for messages that the provider says it would refuse: should it take
// them after all, the budget still holds.
type dearest struct {
	price    campaign.Micros
	aside    campaign.Micros // in all
	unpriced []*pricedBatch
}

// fill sets aside the dearest price for the refused messages of a batch. False
// when there is no price yet, and the batch has to wait for one.
func (d *dearest) fill(b *pricedBatch) bool {
	all := true
	for i, p := range b.Prices {
		d.price = max(d.price, p)
		all = all && b.refused[i] != ""
	}
	if all && d.price == 0 {
		d.unpriced = append(d.unpriced, b)
		return false
	}
	for i := range b.Prices {
		if b.refused[i] != "" {
			b.Prices[i] = d.price
			d.aside += d.price
		}
	}
	return true
}

// firstReal drops the cancellations that follow from another error.
func firstReal(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !errors.Is(e, context.Canceled) {
				return e
			}
		}
	}
	return err
}

// priceRows prices messages until the provider has answered for every one of
// them. Called is called before each request.
func (p *Provider) priceRows(ctx context.Context, j *job, fileKey string, called func()) (*answer, []int, error) {
	const tries = 8
	for try := 1; ; try++ {
		ans, rows, err := p.priceOnce(ctx, j, fileKey, called)
		if err == nil || try == tries || !passes(err) {
			return ans, rows, err
		}
		wait := min(time.Second<<(try-1), 30*time.Second)
		var ce *clicksend.Error
		if errors.As(err, &ce) && ce.RetryAfter > 0 {
			wait = ce.RetryAfter
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (p *Provider) priceOnce(ctx context.Context, j *job, fileKey string, called func()) (*answer, []int, error) {
	var err error
	if j.urls, err = p.FileURLs(ctx, j.content, fileKey); err != nil {
		return nil, nil, err
	}
	if err := p.Wait(ctx, priceEndpoint(j.content.Channel), len(j.messages)); err != nil {
		return nil, nil, err
	}
	called()
	ans, err := p.price(ctx, j)
	if err != nil {
		return nil, nil, err
	}
	rows := match(j.messages, ans.rows)
	missing := 0
	for _, r := range rows {
		if r < 0 {
			missing++
		}
	}
	if missing > 0 {
		return nil, nil, &missingPricesError{missing, len(rows)}
	}
	return ans, rows, nil
}

// missingPricesError says that a price answer did not speak of every message.
type missingPricesError struct{ missing, of int }

func (e *missingPricesError) Error() string {
	return fmt.Sprintf("the provider gave no price for %d of %d messages", e.missing, e.of)
}

// passes reports whether a failed price request is worth repeating.
func passes(err error) bool {
	var mp *missingPricesError
	if errors.As(err, &mp) {
		return true
	}
	switch clicksend.KindOf(err) {
	case clicksend.NotSent, clicksend.RateLimited, clicksend.ServerError, clicksend.Unreadable, clicksend.Unanswered:
		return true
	}
	return false
}
