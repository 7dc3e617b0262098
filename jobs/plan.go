package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/document"
	"github.com/postrider/postrider/ledger"
)

// Progress tells how far a long step is; total is 0 when nobody knows.
type Progress func(done, total int)

// PlanOptions says how a draft is planned.
type PlanOptions struct {
	// Unique says that the audience was imported without two rows for the same
	// recipient of this channel, so that no duplicate need be looked for.
	Unique bool
	// FileDir is the folder that paths in the content's file column start from.
	FileDir  string
	Progress Progress
}

// Plan turns the audience of a draft into batches in the ledger. Rows that
// cannot be sent are an error of kind *campaign.PlanError, and the draft is to
// be discarded.
func Plan(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign, limits campaign.Limits, o PlanOptions) (campaign.PlanSummary, error) {
	var none campaign.PlanSummary
	list, err := l.List(ctx, c.ListID)
	if err != nil {
		return none, err
	}
	renderer, err := campaign.NewRenderer(&c.Content, limits)
	if err != nil {
		return none, err
	}
	optedOut, err := l.OptedOut(ctx)
	if err != nil {
		return none, err
	}
	w := l.Plan(c)
	opts := campaign.PlanOptions{
		Emit:     func(b campaign.PlannedBatch) error { return w.Batch(ctx, b) },
		Examples: campaign.DefaultExamples,
		OptedOut: func(k *campaign.Contact) bool { return c.Channel.IsPhone() && optedOut[k.Phone] },
		Resolve: func(path string) (campaign.File, error) {
			return storeFile(ctx, l, c.Channel, o.FileDir, path)
		},
	}
	if c.Timing.Window != nil && c.Timing.ByRecipient {
		opts.Zone = new(campaign.ZoneFinder).Zone
	}
	if !o.Unique {
		opts.Seen = campaign.NewSeen()
	}
	planner := campaign.NewPlanner(renderer, opts)
	done := 0
	err = eachContact(ctx, l, c.ListID, func(k *campaign.Contact) error {
		if done++; o.Progress != nil && done%1000 == 0 {
			o.Progress(done, list.Contacts)
		}
		return planner.Add(k)
	})
	if err != nil {
		return none, fmt.Errorf("planning: %w", err)
	}
	sum, err := planner.Close()
	if err != nil {
		return none, err
	}
	sum.Limits = limits
	if o.Progress != nil {
		o.Progress(done, list.Contacts)
	}
	return sum, w.Finish(ctx, sum)
}

// eachContact reads a list in one goroutine while fn plans and writes in
// another.
func eachContact(ctx context.Context, l *ledger.Ledger, list int64, fn func(*campaign.Contact) error) error {
	const stretch = 2000
	g, ctx := errgroup.WithContext(ctx)
	full := make(chan []campaign.Contact, 4)
	empty := make(chan []campaign.Contact, 6)
	g.Go(func() error {
		defer close(full)
		var part []campaign.Contact
		hand := func() error {
			select {
			case full <- part:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case part = <-empty:
			default:
				part = make([]campaign.Contact, 0, stretch)
			}
			return nil
		}
		err := l.EachContact(ctx, list, func(k *campaign.Contact) error {
			if part = append(part, *k); len(part) < stretch {
				return nil
			}
			return hand()
		})
		if err != nil || len(part) == 0 {
			return err
		}
		return hand()
	})
	g.Go(func() error {
		for part := range full {
			for i := range part {
				if err := fn(&part[i]); err != nil {
					return err
				}
			}
			select {
			case empty <- part[:0]:
			default:
			}
		}
		return nil
	})
	return g.Wait()
}

// ReadFile reads a file that is to be sent on a channel, looks into it and
// stores it in the ledger. What cannot be sent is a *document.Fault, or another
// error with CodeInvalid or CodeNotFound. The path may be that of a foreign
// file, http:// or https://, which the provider fetches itself and nobody looks
// into.
func ReadFile(ctx context.Context, l *ledger.Ledger, ch campaign.Channel, path string) (campaign.File, error) {
	return storeFile(ctx, l, ch, "", path)
}

func storeFile(ctx context.Context, l *ledger.Ledger, ch campaign.Channel, dir, path string) (campaign.File, error) {
	if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
		return campaign.File{URL: path, Name: filepath.Base(path)}, nil
	}
	named := path
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return campaign.File{}, campaign.Errorf(campaign.CodeNotFound, "there is no file %s", named)
	}
	if err != nil {
		return campaign.File{}, err
	}
	switch {
	case info.IsDir():
		return campaign.File{}, campaign.Errorf(campaign.CodeInvalid, "%s is a folder, not a file", filepath.Base(path))
	case info.Size() > document.MaxSize:
		return campaign.File{}, campaign.Errorf(campaign.CodeInvalid, "%s is larger than %d MB, the most that is sent", filepath.Base(path), document.MaxSize>>20)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return campaign.File{}, err
	}
	sum := sha256.Sum256(content)
	known, stored, err := l.FindFile(ctx, hex.EncodeToString(sum[:]))
	if err != nil {
		return campaign.File{}, err
	}
	// Nobody looks twice into a PDF that was found good for this. What stands in
	// the ledger can only spare the look: a bad file's fault is told anew.
	if stored && known.Pages > 0 && (ch != campaign.Letter || known.PageSize == document.LetterSize) {
		known.Name = filepath.Base(path)
		return known, nil
	}
	checked, err := document.Check(ch, path, content)
	if err != nil {
		return campaign.File{}, err
	}
	return l.StoreChecked(ctx, checked.File(path), content)
}

// Quote is what pricing a draft came to.
type Quote struct {
	ledger.Quote
	// PartsDiffer is how many messages the provider counts in more or fewer
	// parts than we do; its count is the one that is charged.
	PartsDiffer int `json:"parts_differ,omitempty"`
	// Refusals counts the messages that the provider says it would refuse, by
	// its status.
	Refusals map[string]int `json:"refusals,omitempty"`
}

// MakeQuote asks the provider's price endpoint for every message of a draft,
// batch by batch, stores each recipient's price and then the quote: the draft
// becomes quoted. Price requests are safe to repeat, and are, when the provider
// is busy or away.
func MakeQuote(ctx context.Context, l *ledger.Ledger, p *Provider, c *ledger.Campaign, actor string, progress Progress) (Quote, error) {
	r, err := campaign.NewRenderer(&c.Content, c.Plan.Limits)
	if err != nil {
		return Quote{}, err
	}
	var dearest dearest
	q := Quote{Refusals: map[string]int{}, Quote: ledger.Quote{Basis: "exact", Currency: c.Currency}}
	results := make(chan batchQuote)
	whole := ctx
	work, ctx := errgroup.WithContext(whole)
	work.Go(func() error {
		defer close(results)
		// The first that fails ends the others, and the reading of the plan.
		batches, ctx := errgroup.WithContext(ctx)
		batches.SetLimit(8)
		err := l.EachPlannedBatch(ctx, c, func(b ledger.PlannedBatch) error {
			batches.Go(func() error {
				bq, err := p.quoteBatch(ctx, l, r, c, b, &dearest)
				if err != nil {
					return err
				}
				select {
				case results <- bq:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			return ctx.Err()
		})
		return errors.Join(batches.Wait(), err)
	})
	work.Go(func() error {
		for b := range results {
			q.Total += b.total
			q.Messages += b.messages
			q.Parts += b.parts
			q.PartsDiffer += b.differ
			for st, n := range b.refusals {
				q.Refusals[st] += n
			}
			if b.currency != "" {
				if q.Currency != "" && q.Currency != b.currency {
					return fmt.Errorf("the provider quotes in %s and in %s", q.Currency, b.currency)
				}
				q.Currency = b.currency
			}
			if progress != nil {
				progress(q.Messages, c.Plan.Sendable)
			}
		}
		return nil
	})
	if err := work.Wait(); err != nil {
		return Quote{}, fmt.Errorf("pricing: %w", firstReal(err))
	}
	// Batches of which the provider would refuse everybody were priced before
	// anything had a price.
	for _, b := range dearest.unpriced {
		if err := l.QuoteBatch(whole, c.ID, b, slices.Repeat([]campaign.Micros{dearest.price}, len(b.Recipients))); err != nil {
			return Quote{}, err
		}
	}
	return q, l.SetQuote(whole, c, q.Quote, actor)
}

// dearest is the highest price of a message in a quote. It is what is set
// aside for messages that the provider says it would refuse: should it take
// them after all, the budget still holds.
type dearest struct {
	mu       sync.Mutex
	price    campaign.Micros
	unpriced []ledger.PlannedBatch
}

// fill sets aside the dearest price for the refused messages of a batch.
func (d *dearest) fill(b ledger.PlannedBatch, prices []campaign.Micros, refused []bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := true
	for i, p := range prices {
		d.price = max(d.price, p)
		all = all && refused[i]
	}
	if all && d.price == 0 {
		d.unpriced = append(d.unpriced, b)
		return
	}
	for i := range prices {
		if refused[i] {
			prices[i] = d.price
		}
	}
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

// SkipQuote makes a draft quoted without asking for prices: nothing caps its
// spend then.
func SkipQuote(ctx context.Context, l *ledger.Ledger, c *ledger.Campaign, actor string) (Quote, error) {
	q := Quote{Quote: ledger.Quote{Basis: "none", Currency: c.Currency, Messages: c.Plan.Sendable, Parts: c.Plan.Parts}}
	return q, l.SetQuote(ctx, c, q.Quote, actor)
}

// KeepPlanning shows the ledger that somebody still works on a campaign that
// has not started, until it is stopped. What nobody works on is discarded.
func KeepPlanning(ctx context.Context, l *ledger.Ledger, id int64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				// Should it fail, the next chunk of the plan says why.
				_ = l.KeepPlanning(ctx, id)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

type batchQuote struct {
	total                   campaign.Micros
	messages, parts, differ int
	refusals                map[string]int
	currency                string
}

func (p *Provider) quoteBatch(ctx context.Context, l *ledger.Ledger, r *campaign.Renderer, c *ledger.Campaign, b ledger.PlannedBatch, d *dearest) (batchQuote, error) {
	j := &job{content: &c.Content}
	for i := range b.Recipients {
		m, err := r.Render(&b.Recipients[i].Contact)
		if err != nil {
			return batchQuote{}, err
		}
		ref := campaign.Reference{Ledger: l.ID(), Recipient: b.Recipients[i].ID, Attempt: 0}
		j.messages = append(j.messages, outgoing{recipient: b.Recipients[i].ID, reference: ref.String(), message: m})
	}
	ans, rows, err := p.priceRows(ctx, j, b.FileKey)
	if err != nil {
		return batchQuote{}, err
	}
	q := batchQuote{messages: len(j.messages), refusals: map[string]int{}, currency: ans.currency}
	prices, refused := make([]campaign.Micros, len(j.messages)), make([]bool, len(j.messages))
	for i, row := range rows {
		o := &ans.rows[row]
		if o.Verdict() != clicksend.Accepted {
			q.refusals[string(o.Status)]++
			refused[i] = true
			continue
		}
		prices[i] = campaign.Micros(o.Price)
		q.total += prices[i]
		parts := int(o.Parts)
		if parts == 0 || c.Channel.IsPost() {
			parts = j.messages[i].message.Parts
		}
		if parts != j.messages[i].message.Parts {
			q.differ++
		}
		q.parts += parts
	}
	d.fill(b, prices, refused)
	return q, l.QuoteBatch(ctx, c.ID, b, prices)
}

// priceRows prices a batch until the provider has answered for every message.
func (p *Provider) priceRows(ctx context.Context, j *job, fileKey string) (*answer, []int, error) {
	const tries = 8
	for try := 1; ; try++ {
		ans, rows, err := p.priceOnce(ctx, j, fileKey)
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

func (p *Provider) priceOnce(ctx context.Context, j *job, fileKey string) (*answer, []int, error) {
	var err error
	if j.urls, err = p.FileURLs(ctx, j.content, fileKey); err != nil {
		return nil, nil, err
	}
	if err := p.Wait(ctx, priceEndpoint(j.content.Channel), len(j.messages)); err != nil {
		return nil, nil, err
	}
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
