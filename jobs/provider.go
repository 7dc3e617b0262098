package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// Provider is one account at the provider: the client, the rate budget that
// all workers share, and the files uploaded lately.
type Provider struct {
	client  *clicksend.Client
	limiter *ratelimit.Limiter
	files   FileReader
	rateKey string // of the account, in the shared budget
	now     func() time.Time

	mu       sync.Mutex
	account  *clicksend.Account
	uploaded map[string]*upload

	credit credit
}

// FileReader gives the bytes of a planned file by its SHA-256; a *ledger.Ledger
// is one.
type FileReader interface {
	ReadFile(ctx context.Context, sha string) (campaign.File, []byte, error)
}

// ProviderConfig is what NewProvider is given.
type ProviderConfig struct {
	Client  clicksend.Config // OnRate is set by NewProvider
	Limiter *ratelimit.Limiter
	Files   FileReader
	// Now is the clock by which uploads grow old; time.Now when nil.
	Now func() time.Time
}

// NewProvider makes the account of a base URL and credentials. It calls
// nobody yet.
func NewProvider(cfg ProviderConfig) (*Provider, error) {
	p := &Provider{limiter: cfg.Limiter, files: cfg.Files, now: cfg.Now, uploaded: map[string]*upload{}}
	if p.now == nil {
		p.now = time.Now
	}
	cfg.Client.OnRate = p.learn
	client, err := clicksend.New(cfg.Client)
	if err != nil {
		return nil, err
	}
	p.client = client
	p.rateKey = client.BaseURL() + " " + cfg.Client.Username
	return p, nil
}

// Client is the account's client, for what needs no budget of ours.
func (p *Provider) Client() *clicksend.Client { return p.client }

// Close ends idle connections.
func (p *Provider) Close() { p.client.Close() }

// learn hands what the provider's headers teach to the shared budget. It is
// called while an answer is read, so it must not wait long.
func (p *Provider) learn(endpoint string, r clicksend.RateInfo) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	info := ratelimit.Info{Limit: r.Limit, Remaining: r.Remaining, Status: r.HTTPStatus, RetryAfter: r.RetryAfter}
	if r.Reset >= 0 {
		info.Reset = time.Now().Add(r.Reset)
	}
	// A budget that cannot be reached is met again at the next Wait, which
	// says so.
	_ = p.limiter.Learn(ctx, ratelimit.Key{Account: p.rateKey, Endpoint: endpoint}, info)
}

// Wait waits until a request with so many messages may go to the endpoint.
func (p *Provider) Wait(ctx context.Context, endpoint string, messages int) error {
	return p.limiter.Wait(ctx, ratelimit.Key{Account: p.rateKey, Endpoint: endpoint}, messages)
}

// Account reads the account once; credentials belong to one account for good.
func (p *Provider) Account(ctx context.Context) (*clicksend.Account, error) {
	p.mu.Lock()
	known := p.account
	p.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var a *clicksend.Account
	err := p.look(ctx, "GET /account", func() (err error) { a, err = p.client.Account.Get(ctx); return err })
	if err != nil {
		return nil, fmt.Errorf("reading the provider's account: %w", err)
	}
	p.mu.Lock()
	p.account = a
	p.mu.Unlock()
	p.credit.mu.Lock()
	p.credit.learn(a, p.now())
	p.credit.mu.Unlock()
	return a, nil
}

// ReturnAddress reads one of the account's return addresses.
func (p *Provider) ReturnAddress(ctx context.Context, id int64) (a *clicksend.ReturnAddress, err error) {
	err = p.look(ctx, "GET /post/return-addresses/{return_address_id}", func() (err error) {
		a, err = p.client.ReturnAddresses.Get(ctx, id)
		return err
	})
	return a, err
}

// look asks the provider for something, and again while it is busy (429): the
// budget learns from each answer how long to wait.
func (p *Provider) look(ctx context.Context, endpoint string, get func() error) error {
	const tries = 5
	for try := 1; ; try++ {
		if err := p.Wait(ctx, endpoint, 0); err != nil {
			return err
		}
		err := get()
		if try == tries || clicksend.KindOf(err) != clicksend.RateLimited {
			return err
		}
	}
}

// Identity is the account as a campaign records it.
func (p *Provider) Identity(ctx context.Context) (ledger.Provider, error) {
	a, err := p.Account(ctx)
	if err != nil {
		return ledger.Provider{}, err
	}
	return ledger.Provider{URL: p.client.BaseURL(), User: fmt.Sprint(a.UserID)}, nil
}

// answer is what a send or a price came to.
type answer struct {
	rows     []clicksend.Outcome
	total    clicksend.Amount
	currency string
}

// Rate is how many requests a second may be sent on a channel now, as
// configured or as the provider's headers taught; 0 or less is no limit.
func (p *Provider) Rate(ctx context.Context, c campaign.Channel) (float64, error) {
	return p.limiter.Rate(ctx, ratelimit.Key{Account: p.rateKey, Endpoint: sendEndpoint(c)})
}

// testReference marks a message that belongs to no campaign.
const testReference = "postrider-test"

// PriceOne says what one rendered message would cost, and in which currency.
func (p *Provider) PriceOne(ctx context.Context, c *campaign.Content, m campaign.Message) (campaign.Micros, string, error) {
	account, err := p.Account(ctx)
	if err != nil {
		return 0, "", err
	}
	j := &job{content: c, messages: []outgoing{{reference: testReference, message: m}}}
	ans, rows, err := p.priceRows(ctx, j, c.FileKey(), func() {})
	if err != nil {
		return 0, "", err
	}
	return campaign.Micros(ans.rows[rows[0]].Price), account.Currency.Code, nil
}

// SendOne sends one rendered message outside any campaign, once.
func (p *Provider) SendOne(ctx context.Context, c *campaign.Content, m campaign.Message) (*clicksend.Outcome, error) {
	j := &job{content: c, messages: []outgoing{{reference: testReference, message: m}}}
	var err error
	if j.urls, err = p.FileURLs(ctx, c, c.FileKey()); err != nil {
		return nil, err
	}
	if err := p.Wait(ctx, sendEndpoint(c.Channel), 1); err != nil {
		return nil, err
	}
	ans, err := p.Send(ctx, j)
	if err != nil {
		return nil, err
	}
	if rows := match(j.messages, ans.rows); rows[0] >= 0 {
		return &ans.rows[rows[0]], nil
	}
	return nil, &clicksend.Error{Kind: clicksend.UnknownOutcome, Op: sendEndpoint(c.Channel), Message: "the answer does not speak of the message"}
}
