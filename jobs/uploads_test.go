package jobs_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
)

func TestConcurrentBatchesShareOneUpload(t *testing.T) {
	for _, ch := range []campaign.Channel{campaign.MMS, campaign.Letter, campaign.Postcard} {
		t.Run(string(ch), func(t *testing.T) {
			r := newRig(t, setup{})
			c := r.begunUnpriced(ch, 4000)
			var g errgroup.Group
			for _, d := range r.dispatched(ch) {
				g.Go(func() error { return r.sender.Send(r.ctx, d.Batch, d.Number) })
			}
			r.ok(g.Wait())
			r.equal(r.campaign(c.ID).State, campaign.Completed)
			r.equal(r.sb.Stats().Uploads, int64(1))
			r.once(c.ID)
		})
	}
}

func TestAnUploadThatHasGrownOldIsMadeAgain(t *testing.T) {
	clock := &ledgerClock{} // of the provider, here
	r := newRig(t, setup{sandbox: sandbox.Options{Clock: clock.now}, config: func(c *jobs.ProviderConfig) { c.Now = clock.now }})
	c := r.begun(campaign.Letter, 2000)
	due := r.dispatched(campaign.Letter)
	r.ok(r.sender.Send(r.ctx, due[0].Batch, due[0].Number))
	r.equal(r.sb.Stats().Uploads, int64(1)) // the one that was made for the price
	clock.advance(11 * time.Minute)         // the provider has deleted it
	r.ok(r.sender.Send(r.ctx, due[1].Batch, due[1].Number))
	r.equal(r.sb.Stats().Uploads, int64(2))
	r.equal(r.counts(c.ID), ledger.Counts{Total: 2000, Accepted: 2000})
	r.equal(r.sb.Stats().Malformed, int64(0))
}

func TestWhoWaitsForAnUploadOutlivesWhoBeganIt(t *testing.T) {
	r := newRig(t, setup{})
	content := r.content(campaign.MMS)
	arrived := make(chan struct{}, 1)
	var first atomic.Bool
	r.front(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/uploads") && first.CompareAndSwap(false, true) {
			if _, err := io.Copy(io.Discard, req.Body); err != nil { // else the server does not see its client go
				t.Error(err)
			}
			arrived <- struct{}{}
			<-req.Context().Done()
			return
		}
		r.sb.ServeHTTP(w, req)
	})
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	began := make(chan error, 1)
	go func() {
		_, err := r.p.FileURLs(ctx, &content, content.FileKey())
		began <- err
	}()
	<-arrived
	waited := make(chan error, 1)
	go func() {
		_, err := r.p.FileURLs(r.ctx, &content, content.FileKey())
		waited <- err
	}()
	cancel()
	if err := <-began; err == nil {
		t.Error("the upload succeeded though its caller had gone")
	}
	r.ok(<-waited)
}

func TestAFileTheLedgerHasLostPausesTheCampaign(t *testing.T) {
	r := newRig(t, setup{})
	content := r.content(campaign.Letter)
	c := r.planned(content, 10)
	_, err := jobs.SkipQuote(r.ctx, r.l, c, "test")
	r.ok(err)
	r.ok(r.l.Approve(r.ctx, c.ID, ledger.Approval{To: campaign.Sending, Actor: "test"}))
	r.sender.Provider = r.provider(setup{key: sandbox.DefaultAPIKey, rate: -1, config: func(c *jobs.ProviderConfig) { c.Files = noFiles{} }})
	d := r.dispatched(campaign.Letter)[0]
	r.ok(r.sender.Send(r.ctx, d.Batch, d.Number))
	if got := r.campaign(c.ID); got.State != campaign.Paused || !strings.HasPrefix(got.Reason, "file: ") {
		t.Errorf("it is %s because %q", got.State, got.Reason)
	}
}

type noFiles struct{}

func (noFiles) ReadFile(context.Context, string) (campaign.File, []byte, error) {
	return campaign.File{}, nil, campaign.Errorf(campaign.CodeNotFound, "it is gone")
}
