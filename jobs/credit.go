package jobs

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
)

// balanceLife is how long a process believes a balance before it reads it
// again, and balanceWait how long a batch waits for that.
const (
	balanceLife = 30 * time.Second
	balanceWait = 5 * time.Second
)

// credit is what this process knows of the account's balance. Other processes
// spend it too: what it takes for granted may be gone, and then the provider
// says so.
type credit struct {
	mu       sync.Mutex
	balance  campaign.Micros
	taken    campaign.Micros // by what left since it was read
	recharge bool            // the account buys credit by itself
	read     time.Time       // zero: never
	failed   time.Time       // when it could not be read; zero: it could
}

func (c *credit) learn(a *clicksend.Account, now time.Time) {
	c.balance, c.taken, c.recharge, c.read, c.failed = campaign.Micros(a.Balance), 0, a.AutoRecharge, now, time.Time{}
}

// Affords reports whether the account has the credit for something that costs
// so much, and takes it into account. It asks the provider when what it knows is
// older than balanceLife, and before it says no. Of an account that recharges by
// itself it never does; nor when the balance cannot be read, since sending finds
// out as well. The balance is for the reader.
func (p *Provider) Affords(ctx context.Context, cost campaign.Micros) (ok bool, balance campaign.Micros) {
	if cost == 0 {
		return true, 0
	}
	c := &p.credit
	c.mu.Lock() // of several at once, one asks
	defer c.mu.Unlock()
	now := p.now()
	if now.Sub(c.failed) < balanceLife {
		return true, c.balance
	}
	if now.Sub(c.read) >= balanceLife || c.balance-c.taken < cost && !c.recharge {
		ctx, cancel := context.WithTimeout(ctx, balanceWait)
		defer cancel()
		var a *clicksend.Account
		err := p.look(ctx, "GET /account", func() (err error) { a, err = p.client.Account.Get(ctx); return err })
		if err != nil {
			c.failed = now
			return true, c.balance
		}
		c.learn(a, p.now())
	}
	if c.balance < cost && !c.recharge {
		return false, c.balance
	}
	c.taken += cost
	return true, c.balance
}

// checkCredit pauses the campaign of a batch that the account's balance does not
// cover, before it is refused message by message.
func (s *Sender) checkCredit(ctx context.Context, j *job, currency string) error {
	var cost campaign.Micros
	for _, m := range j.messages {
		cost += m.quoted
	}
	ok, balance := s.Provider.Affords(ctx, cost)
	if ok {
		return nil
	}
	return &pauseError{fmt.Sprintf("credit: the provider's account has %s %s left, and the next batch, of %d messages, is quoted at %s; top it up, then resume",
		balance, currency, len(j.messages), cost)}
}
