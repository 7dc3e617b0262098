package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
)

// quoters are the processes of compareQuotes.
var quoters = map[string]func(context.Context, job) (result, error){
	"quote-plan": quotePlan,
	"quote":      func(ctx context.Context, j job) (result, error) { return quoteCampaign(ctx, j, false) },
	"exact":      func(ctx context.Context, j job) (result, error) { return quoteCampaign(ctx, j, true) },
}

// compareQuotes measures pricing an audience of mixed countries and lengths by
// class, against pricing a tenth of it message by message.
func compareQuotes(rows, runs int, postgres bool) error {
	dir, err := os.MkdirTemp("", "postrider-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Printf("pricing %d SMS to four countries, %s, %d CPUs, median of %d runs\n\n", rows, runtime.Version(), runtime.NumCPU(), runs)
	fmt.Printf("%-8s %9s %9s %12s %9s %9s %9s\n", "", "messages", "seconds", "messages/s", "calls", "CPU s", "peak MB")
	speed := map[string]float64{}
	for _, k := range []struct {
		role string
		rows int
	}{{"quote", rows}, {"exact", rows / 10}} {
		var all []result
		for n := range runs {
			r, err := quoteOnce(k.role, k.rows, filepath.Join(dir, fmt.Sprint(k.role, n)), postgres)
			if err != nil {
				return fmt.Errorf("%s: %w", k.role, err)
			}
			all = append(all, r)
		}
		m := median(all)
		speed[k.role] = float64(k.rows) / m.Seconds
		fmt.Printf("%-8s %9d %9.2f %12.0f %9.0f %9.2f %9.0f\n", map[string]string{"quote": "by class", "exact": "exact"}[k.role],
			k.rows, m.Seconds, speed[k.role], m.Parts["calls"], m.CPU, m.PeakMB)
	}
	fmt.Printf("\nby class is %.1f times as fast a message, from a provider that answers at once\n", speed["quote"]/speed["exact"])
	return nil
}

// quoteOnce plans in one process and prices in another, so that the memory is
// that of pricing alone.
func quoteOnce(role string, rows int, dir string, postgres bool) (result, error) {
	ctx := context.Background()
	var r result
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	j := job{CSV: filepath.Join(dir, "audience.csv"), Rows: rows, Dir: dir}
	if err := writeMixedAudience(j.CSV, rows); err != nil {
		return r, err
	}
	if postgres {
		end, err := j.onPostgres(ctx)
		if err != nil {
			return r, err
		}
		defer end()
	}
	base, end, err := startProvider()
	if err != nil {
		return r, err
	}
	defer end()
	j.BaseURL = base
	var planned result
	if err := measure("quote-plan", j, &planned); err != nil {
		return r, err
	}
	if err := measure(role, j, &r); err != nil {
		return r, err
	}
	stats, err := providerStats(base)
	if err != nil {
		return r, err
	}
	if got := stats.Endpoints["POST /sms/price"].Requests; float64(got) != r.Parts["calls"] {
		return r, fmt.Errorf("the quote speaks of %.0f calls, and the provider counted %d", r.Parts["calls"], got)
	}
	if r.Accepted != rows {
		return r, fmt.Errorf("%d of %d were priced", r.Accepted, rows)
	}
	return r, nil
}

// writeMixedAudience writes numbers of four countries with notes of many
// lengths, some of them outside GSM 03.38.
func writeMixedAudience(path string, rows int) error {
	return writeRows(path, rows, "phone,first_name,note", func(b []byte, i int) []byte {
		switch i % 20 {
		case 0, 1:
			b = fmt.Appendf(b, "+447400%06d", i%1_000_000)
		case 2:
			b = fmt.Appendf(b, "+1202%07d", 5_000_000+i%1_000_000)
		case 3:
			b = fmt.Appendf(b, "+6421%07d", 1_000_000+i%1_000_000)
		default:
			b = fmt.Appendf(b, "+614%08d", 10_000_000+i)
		}
		b = fmt.Appendf(b, ",Ann%d,%s", i%977, strings.Repeat("x", i*7%240))
		if i%50 == 0 {
			b = append(b, "ж"...)
		}
		return b
	})
}

func openForQuote(ctx context.Context, j job) (*ledger.Ledger, *jobs.Provider, func(), error) {
	asTheProgram()
	l, err := openLedger(ctx, j)
	if err != nil {
		return nil, nil, nil, err
	}
	embedded, err := jobs.StartEmbedded()
	if err != nil {
		return nil, nil, nil, errors.Join(err, l.Close())
	}
	rdb := redis.NewUniversalClient(embedded.Options())
	p, err := jobs.NewProvider(jobs.ProviderConfig{Client: clientConfig(j), Files: l, Limiter: ratelimit.New(rdb, ratelimit.Options{Rate: ratelimit.Unlimited})})
	if err != nil {
		return nil, nil, nil, errors.Join(err, l.Close())
	}
	return l, p, func() {
		p.Close()
		_ = rdb.Close()
		embedded.Close()
		_ = l.Close()
	}, nil
}

func quotePlan(ctx context.Context, j job) (result, error) {
	l, p, end, err := openForQuote(ctx, j)
	if err != nil {
		return result{}, err
	}
	defer end()
	list, err := importList(ctx, l, j.CSV, campaign.ByNumber)
	if err != nil {
		return result{}, err
	}
	c, err := planned(ctx, l, p, list, "Hi {{first_name}}, {{note|there is news}}")
	if err != nil {
		return result{}, err
	}
	return result{Accepted: c.Plan.Sendable, last: time.Now()}, nil
}

func quoteCampaign(ctx context.Context, j job, exact bool) (result, error) {
	l, p, end, err := openForQuote(ctx, j)
	if err != nil {
		return result{}, err
	}
	defer end()
	c, err := l.Campaign(ctx, 1)
	if err != nil {
		return result{}, err
	}
	q, err := jobs.MakeQuote(ctx, l, p, c, jobs.QuoteOptions{Actor: "bench", Exact: exact})
	if err != nil {
		return result{}, err
	}
	last := time.Now()
	want := campaign.BasisClasses
	if exact {
		want = campaign.BasisExact
	}
	if q.Basis != want {
		return result{}, fmt.Errorf("the quote's basis is %s, want %s", q.Basis, want)
	}
	return result{Accepted: q.Messages, Parts: map[string]float64{"calls": float64(q.Detail.Calls)}, last: last}, nil
}
