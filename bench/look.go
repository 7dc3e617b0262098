package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ratelimit"
)

// lookers read a provider's whole history of SMS; see compareLooks.
var lookers = map[string]func(context.Context, job) (result, error){"pages": lookPages, "look": lookProvider}

// compareLooks measures how long it takes to read the history of that many SMS,
// which it sends first through the provider's real endpoint:
//
//	pages one page after the other, each decoded into maps: proves nothing
//	look  what reconciling does, as far as handing on the rows
//
// Each runs as a process of its own beside the provider's.
func compareLooks(rows, runs int) error {
	base, end, err := startProvider()
	if err != nil {
		return err
	}
	defer end()
	if err := fill(context.Background(), base, rows); err != nil {
		return fmt.Errorf("filling the provider: %w", err)
	}
	fmt.Printf("history of %d SMS, %s, %d CPUs shared with the provider, median of %d runs\n\n", rows, runtime.Version(), runtime.NumCPU(), runs)
	fmt.Printf("%-10s %9s %12s %9s %9s %9s\n", "", "seconds", "rows/s", "pages", "CPU s", "peak MB")
	for _, role := range []string{"pages", "look"} {
		var all []result
		for range runs {
			var r result
			if err := measure(role, job{BaseURL: base, Rows: rows}, &r); err != nil {
				return fmt.Errorf("%s: %w", role, err)
			}
			if r.Accepted != rows {
				return fmt.Errorf("%s: %d of %d rows", role, r.Accepted, rows)
			}
			all = append(all, r)
		}
		m := median(all)
		fmt.Printf("%-10s %9.2f %12.0f %9.0f %9.2f %9.0f\n", role, m.Seconds, float64(rows)/m.Seconds, m.Parts["pages"], m.CPU, m.PeakMB)
	}
	return nil
}

// fill sends that many SMS, each with a reference, in batches of 1,000.
func fill(ctx context.Context, base string, rows int) error {
	c, err := clicksend.New(clientConfig(job{BaseURL: base}))
	if err != nil {
		return err
	}
	defer c.Close()
	for from := 0; from < rows; from += batchOf {
		batch := make([]clicksend.SMSMessage, min(batchOf, rows-from))
		for i := range batch {
			batch[i] = clicksend.SMSMessage{To: fmt.Sprintf("+614%08d", 10000000+from+i), From: "ACME", Source: "postrider",
				Body: "Hi Ann, you have 400 points.", CustomString: fmt.Sprintf("q7k2m9x0abcd%018d", from+i)}
		}
		if _, err := c.SMS.Send(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

func lookPages(ctx context.Context, j job) (result, error) {
	r := result{Parts: map[string]float64{}}
	var body bytes.Buffer
	for n := 1; ; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/sms/history?limit=100&page=%d", j.BaseURL, n), nil)
		if err != nil {
			return r, err
		}
		req.SetBasicAuth(sandbox.DefaultUsername, sandbox.DefaultAPIKey)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return r, err
		}
		body.Reset()
		if _, err = io.Copy(&body, res.Body); err != nil {
			return r, err
		}
		if err := res.Body.Close(); err != nil {
			return r, err
		}
		var page struct {
			Data struct {
				Next *string          `json:"next_page_url"`
				Data []map[string]any `json:"data"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body.Bytes(), &page); err != nil {
			return r, err
		}
		r.Accepted += len(page.Data.Data)
		r.Parts["pages"]++
		if page.Data.Next == nil {
			r.last = time.Now()
			return r, nil
		}
	}
}

func lookProvider(ctx context.Context, j job) (result, error) {
	p, err := jobs.NewProvider(jobs.ProviderConfig{Client: clientConfig(j), Limiter: ratelimit.New(nil, ratelimit.Options{Rate: ratelimit.Unlimited})})
	if err != nil {
		return result{}, err
	}
	defer p.Close()
	now := time.Now()
	ours := 0
	look, err := p.History(ctx, campaign.SMS, []jobs.Window{{From: now.Add(-24 * time.Hour), To: now}}, func(page []clicksend.Record) error {
		for _, row := range page {
			if strings.HasPrefix(row.CustomString, "q7k2m9x0") {
				ours++
			}
		}
		return nil
	})
	if err != nil {
		return result{}, err
	}
	if !look.Complete || ours < look.Rows {
		return result{}, fmt.Errorf("the look is not complete, or rows are not ours: %d of %d; %s", ours, look.Rows, look.Doubt)
	}
	return result{Accepted: look.Rows, Parts: map[string]float64{"pages": float64(look.Pages)}, last: time.Now()}, nil
}
