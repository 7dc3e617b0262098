package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// reconcilers lose the answers to a whole campaign, and find out what became of
// it; see compareReconciling.
var reconcilers = map[string]func(context.Context, job) (result, error){"lose": loseAnswers, "reconcile": reconcile}

// compareReconciling measures how long it takes to find out what became of that
// many recipients, all of whose answers were lost, from a history that holds
// them and nobody else, at a provider without a rate limit; and of a tenth of
// them, for the memory. Losing and finding out are processes of their own.
func compareReconciling(rows, runs int) error {
	fmt.Printf("reconciling on SQLite, %s, %d CPUs shared with the provider, median of %d runs\n\n", runtime.Version(), runtime.NumCPU(), runs)
	fmt.Printf("%12s %9s %12s %9s %9s %9s\n", "recipients", "seconds", "rows/s", "pages", "CPU s", "peak MB")
	for _, n := range []int{rows / 10, rows} {
		var all []result
		for range runs {
			r, err := reconcileOnce(n)
			if err != nil {
				return err
			}
			all = append(all, r)
		}
		m := median(all)
		fmt.Printf("%12d %9.2f %12.0f %9.0f %9.2f %9.0f\n", n, m.Seconds, float64(n)/m.Seconds, m.Parts["pages"], m.CPU, m.PeakMB)
	}
	return nil
}

func reconcileOnce(rows int) (result, error) {
	var r result
	dir, err := os.MkdirTemp("", "postrider-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	j := job{CSV: filepath.Join(dir, "audience.csv"), Dir: dir, Rows: rows}
	if err := writeAudience(j.CSV, rows); err != nil {
		return r, err
	}
	base, end, err := startProvider()
	if err != nil {
		return r, err
	}
	defer end()
	j.BaseURL = base
	if err := setFaults(base, sandbox.Faults{ResetAfter: 1, Endpoints: []string{"POST /sms/send"}}); err != nil {
		return r, err
	}
	if err := measure("lose", j, &r); err != nil {
		return r, fmt.Errorf("losing answers: %w", err)
	}
	if r.Accepted != rows {
		return r, fmt.Errorf("%d of %d recipients are unknown", r.Accepted, rows)
	}
	before, err := providerStats(base)
	if err != nil {
		return r, err
	}
	if err := measure("reconcile", j, &r); err != nil {
		return r, fmt.Errorf("reconciling: %w", err)
	}
	if r.Accepted != rows {
		return r, fmt.Errorf("%d of %d recipients were found", r.Accepted, rows)
	}
	after, err := providerStats(base)
	if err != nil {
		return r, err
	}
	r.Parts = map[string]float64{"pages": float64(after.Endpoints["GET /sms/history"].Requests - before.Endpoints["GET /sms/history"].Requests)}
	return r, nil
}

// setFaults replaces the faults of the pretended provider.
func setFaults(base string, f sandbox.Faults) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	url := strings.TrimSuffix(base, "/v3") + "/_sandbox/faults"
	req, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(sandbox.DefaultUsername, sandbox.DefaultAPIKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

// account is a ledger and the provider's account in one contender.
func account(ctx context.Context, j job) (*ledger.Ledger, *jobs.Provider, error) {
	l, err := ledger.Open(ctx, filepath.Join(j.Dir, "postrider.db"), ledger.Options{})
	if err != nil {
		return nil, nil, err
	}
	p, err := jobs.NewProvider(jobs.ProviderConfig{Client: clientConfig(j), Files: l, Limiter: ratelimit.New(nil, ratelimit.Options{Rate: ratelimit.Unlimited})})
	return l, p, err
}

// loseAnswers sends a campaign to a provider that accepts everything and
// answers nothing. Accepted counts who is unknown in the end.
func loseAnswers(ctx context.Context, j job) (result, error) {
	l, p, err := account(ctx, j)
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	defer p.Close()
	list, err := importList(ctx, l, j.CSV, campaign.ByNumber)
	if err != nil {
		return result{}, err
	}
	c, err := plan(ctx, l, p, list)
	if err != nil {
		return result{}, err
	}
	quiet := slog.New(slog.DiscardHandler) // it would tell of every lost answer
	s := &jobs.Sender{Ledger: l, Provider: p, Log: quiet, Name: "bench"}
	for {
		due, err := l.Due(ctx, ledger.DueQuery{Channel: campaign.SMS, Window: 100, Again: time.Hour})
		if err != nil {
			return result{}, err
		}
		if len(due) == 0 {
			break
		}
		for _, d := range due {
			if err := s.Send(ctx, d.Batch, d.Number); err != nil {
				return result{}, err
			}
		}
	}
	counts, err := l.Counts(ctx, c.ID)
	return result{Accepted: counts.Unknown, last: time.Now()}, err
}

// reconcile finds out what became of the campaign.
func reconcile(ctx context.Context, j job) (result, error) {
	asTheProgram()
	l, p, err := account(ctx, j)
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	defer p.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	r := &jobs.Reconciler{Ledger: l, Provider: p, Log: log, Name: "bench"}
	due, err := l.LooksDue(ctx, 0)
	if err != nil {
		return result{}, err
	}
	for _, d := range due {
		if err := r.Reconcile(ctx, d); err != nil {
			return result{}, err
		}
	}
	last := time.Now()
	all, err := l.Campaigns(ctx)
	if err != nil {
		return result{}, err
	}
	counts, err := l.Counts(ctx, all[0].ID)
	return result{Accepted: counts.Accepted, last: last}, err
}
