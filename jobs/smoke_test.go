package jobs_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/scheduler"
)

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	l, err := ledger.Open(ctx, filepath.Join(t.TempDir(), "l.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sb := sandbox.New(sandbox.Options{Username: "u", APIKey: "k"})
	srv := httptest.NewServer(sb)
	defer srv.Close()
	emb, err := jobs.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	defer emb.Close()
	rdb := redis.NewUniversalClient(emb.Options())
	p, err := jobs.NewProvider(jobs.ProviderConfig{Client: clicksend.Config{BaseURL: srv.URL + "/v3", Username: "u", APIKey: "k"},
		Limiter: ratelimit.New(rdb, ratelimit.Options{Rate: ratelimit.Unlimited}), Files: l})
	if err != nil {
		t.Fatal(err)
	}
	id, err := p.Identity(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.CreateList(ctx, "people", "people.csv", "number")
	if err != nil {
		t.Fatal(err)
	}
	n := 2500
	var chunk []campaign.Contact
	for i := range n {
		chunk = append(chunk, campaign.Contact{Line: i + 2, Phone: fmt.Sprintf("+614120%05d", i), FirstName: "Ann", Country: "AU"})
	}
	if err := w.Contacts(ctx, chunk); err != nil {
		t.Fatal(err)
	}
	list, err := w.Finish(ctx, ledger.ListCounts{Rows: n, Imported: n})
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.CreateCampaign(ctx, ledger.NewCampaign{Content: campaign.Content{Channel: campaign.SMS, From: "ACME", Body: "Hi {{first_name}}"}, ListID: list.ID, Digest: "d", Provider: id, Currency: "AUD", Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	sum, err := jobs.Plan(ctx, l, c, campaign.Limits{}, jobs.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", sum)
	c, _ = l.Campaign(ctx, c.ID)
	q, err := jobs.MakeQuote(ctx, l, p, c, "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", q)
	if err := l.MoveCampaign(ctx, c.ID, ledger.Move{To: campaign.Sending, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	s := &jobs.Sender{Ledger: l, Provider: p, Log: log, Name: "w1", RefusalBrake: 0.2}
	wk := &jobs.Worker{Sender: s, Redis: rdb, Log: log}
	if err := wk.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer wk.Shutdown()
	b := &scheduler.Beat{Dispatcher: &jobs.Dispatcher{Ledger: l, Queue: asynq.NewClientFromRedisClient(rdb), Redis: rdb, Log: log, TaskTimeout: s.TaskTimeout()}, Log: log}
	b.Start()
	defer b.Shutdown()
	for range 200 {
		counts, err := l.Counts(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		if counts.Left() == 0 {
			t.Logf("%+v", counts)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	c, _ = l.Campaign(ctx, c.ID)
	t.Logf("%s quoted %s spent %s reserved %s", c.State, c.Quoted, c.Spent, c.Reserved)
	t.Logf("%+v", sb.Stats())
}
