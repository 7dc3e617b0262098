package main

import (
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/nyaruka/phonenumbers"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite" // the naive contender's database

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/clicksend/sandbox"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/ratelimit"
	"github.com/postrider/postrider/scheduler"
)

const (
	body    = "Hi {{first_name}}, you have {{points}} points."
	batchOf = campaign.MaxBatch
)

func newClient(j job) (*clicksend.Client, error) { return clicksend.New(clientConfig(j)) }

func clientConfig(j job) clicksend.Config {
	return clicksend.Config{BaseURL: j.BaseURL, Username: sandbox.DefaultUsername, APIKey: sandbox.DefaultAPIKey}
}

// bare reads the file, checks the numbers with the product's own importer,
// and posts from 8 goroutines. It remembers nothing.
func bare(ctx context.Context, j job) (result, error) {
	client, err := newClient(j)
	if err != nil {
		return result{}, err
	}
	f, err := os.Open(j.CSV)
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	renderer, err := campaign.NewRenderer(&campaign.Content{Channel: campaign.SMS, From: "ACME", Body: body}, campaign.Limits{})
	if err != nil {
		return result{}, err
	}
	batches := make(chan []clicksend.SMSMessage, 16)
	var (
		accepted atomic.Int64
		wg       sync.WaitGroup
		failed   atomic.Pointer[error]
	)
	for range 8 {
		wg.Go(func() {
			for b := range batches {
				r, err := client.SMS.Send(ctx, b)
				if err != nil {
					failed.Store(&err)
					continue
				}
				for i := range r.Rows {
					if r.Rows[i].Status == clicksend.StatusSuccess {
						accepted.Add(1)
					}
				}
			}
		})
	}
	s := &bareSink{renderer: renderer, out: batches}
	_, err = importer.Import(ctx, f, s, importer.Options{Name: "audience.csv", Country: "AU", Identity: campaign.ByNumber})
	if len(s.batch) > 0 {
		batches <- s.batch
	}
	close(batches)
	wg.Wait()
	last := time.Now()
	if p := failed.Load(); p != nil {
		err = errors.Join(err, *p)
	}
	return result{Accepted: int(accepted.Load()), last: last}, err
}

// bareSink renders contacts and cuts batches.
type bareSink struct {
	renderer *campaign.Renderer
	batch    []clicksend.SMSMessage
	out      chan<- []clicksend.SMSMessage
}

func (s *bareSink) Contacts(_ context.Context, chunk []campaign.Contact) error {
	for i := range chunk {
		m, err := s.renderer.Render(&chunk[i])
		if err != nil {
			return err
		}
		s.batch = append(s.batch, clicksend.SMSMessage{To: m.To, Body: m.Body, From: m.From})
		if len(s.batch) == batchOf {
			s.out <- s.batch
			s.batch = make([]clicksend.SMSMessage, 0, batchOf)
		}
	}
	return nil
}

// naive is the plain way: the library for every number, whole messages in the
// task's payload, a row inserted and a row updated for every recipient.
func naive(ctx context.Context, j job) (result, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(j.Dir, "naive.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return result{}, err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, `CREATE TABLE recipients (id INTEGER PRIMARY KEY, phone TEXT, name TEXT, points TEXT, status TEXT, message_id TEXT, price TEXT)`); err != nil {
		return result{}, err
	}
	opt, err := asynq.ParseRedisURI(j.Redis)
	if err != nil {
		return result{}, err
	}
	queue := asynq.NewClient(opt)
	defer queue.Close()
	client, err := newClient(j)
	if err != nil {
		return result{}, err
	}
	parts := map[string]float64{}
	begun := time.Now()
	type payload struct {
		IDs      []int64
		Messages []clicksend.SMSMessage
	}
	var (
		p     payload
		sent  int
		f     *os.File
		flush = func() error {
			if len(p.IDs) == 0 {
				return nil
			}
			b, err := json.Marshal(p)
			if err != nil {
				return err
			}
			p = payload{}
			sent++
			_, err = queue.EnqueueContext(ctx, asynq.NewTask("naive", b))
			return err
		}
	)
	if f, err = os.Open(j.CSV); err != nil {
		return result{}, err
	}
	defer f.Close()
	rows := csv.NewReader(f)
	if _, err := rows.Read(); err != nil {
		return result{}, err
	}
	insert, err := db.PrepareContext(ctx, `INSERT INTO recipients (phone, name, points) VALUES (?, ?, ?)`)
	if err != nil {
		return result{}, err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return result{}, err
	}
	for {
		rec, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return result{}, err
		}
		n, err := phonenumbers.Parse(rec[0], "AU")
		if err != nil || !phonenumbers.IsValidNumber(n) {
			continue
		}
		to := phonenumbers.Format(n, phonenumbers.E164)
		res, err := tx.StmtContext(ctx, insert).ExecContext(ctx, to, rec[1], rec[8])
		if err != nil {
			return result{}, err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return result{}, err
		}
		p.IDs = append(p.IDs, id)
		p.Messages = append(p.Messages, clicksend.SMSMessage{To: to, From: "ACME", Body: fmt.Sprintf("Hi %s, you have %s points.", rec[1], rec[8])})
		if len(p.IDs) == batchOf {
			if err := flush(); err != nil {
				return result{}, err
			}
		}
	}
	if err := errors.Join(flush(), tx.Commit()); err != nil {
		return result{}, err
	}
	parts["import"] = time.Since(begun).Seconds()
	begun = time.Now()
	var accepted, done atomic.Int64
	finished := make(chan struct{})
	srv := asynq.NewServer(opt, asynq.Config{Concurrency: 8, LogLevel: asynq.FatalLevel, TaskCheckInterval: 200 * time.Millisecond})
	err = srv.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		var p payload
		if err := json.Unmarshal(t.Payload(), &p); err != nil {
			return err
		}
		r, err := client.SMS.Send(ctx, p.Messages)
		if err != nil {
			return err
		}
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // after a commit it does nothing
		for i, row := range r.Rows {
			if _, err := tx.ExecContext(ctx, `UPDATE recipients SET status = ?, message_id = ?, price = ? WHERE id = ?`, string(row.Status), row.MessageID, row.Price.String(), p.IDs[i]); err != nil {
				return err
			}
			if row.Status == clicksend.StatusSuccess {
				accepted.Add(1)
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		if int(done.Add(1)) == sent {
			close(finished)
		}
		return nil
	}))
	if err != nil {
		return result{}, err
	}
	<-finished
	last := time.Now()
	parts["send"] = last.Sub(begun).Seconds()
	srv.Shutdown()
	return result{Accepted: int(accepted.Load()), Parts: parts, last: last}, nil
}

// postrider is the product: the same packages that the program wires together.
func postrider(ctx context.Context, j job) (result, error) {
	asTheProgram()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l, err := openLedger(ctx, j)
	if err != nil {
		return result{}, err
	}
	defer l.Close()
	opts, err := redis.ParseURL(j.Redis)
	if err != nil {
		return result{}, err
	}
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	p, err := jobs.NewProvider(jobs.ProviderConfig{
		Client: clientConfig(j), Files: l, Limiter: ratelimit.New(rdb, ratelimit.Options{Rate: ratelimit.Unlimited}),
	})
	if err != nil {
		return result{}, err
	}
	parts := map[string]float64{}
	begun := time.Now()
	list, err := importList(ctx, l, j.CSV, campaign.ByNumber)
	if err != nil {
		return result{}, err
	}
	parts["import"] = time.Since(begun).Seconds()

	begun = time.Now()
	c, err := plan(ctx, l, p, list)
	if err != nil {
		return result{}, err
	}
	parts["plan"] = time.Since(begun).Seconds()

	begun = time.Now()
	sender := &jobs.Sender{Ledger: l, Provider: p, Log: log, Name: "bench", RefusalBrake: 0.2}
	worker := &jobs.Worker{Sender: sender, Redis: rdb, Log: log, Concurrency: map[campaign.Channel]int{campaign.SMS: 8}}
	if err := worker.Start(ctx); err != nil {
		return result{}, err
	}
	queue := asynq.NewClientFromRedisClient(rdb)
	beat := &scheduler.Beat{Log: log, Dispatcher: &jobs.Dispatcher{Ledger: l, Queue: queue, Redis: rdb, Log: log, TaskTimeout: sender.TaskTimeout()}}
	beat.Start()
	for {
		now, err := l.Campaign(ctx, c.ID)
		if err != nil {
			return result{}, err
		}
		if now.State.Final() || now.State == campaign.Paused {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	last := time.Now()
	parts["send"] = last.Sub(begun).Seconds()
	beat.Shutdown()
	worker.Shutdown()
	counts, err := l.Counts(ctx, c.ID)
	return result{Accepted: counts.Accepted, Parts: parts, last: last}, err
}

// openLedger opens the job's PostgreSQL, or a SQLite file in its folder.
func openLedger(ctx context.Context, j job) (*ledger.Ledger, error) {
	database := j.Database
	if database == "" {
		database = filepath.Join(j.Dir, "postrider.db")
	}
	return ledger.Open(ctx, database, ledger.Options{})
}

// asTheProgram collects memory as the program does.
func asTheProgram() {
	debug.SetGCPercent(200)
	debug.SetMemoryLimit(112 << 20)
}

func importList(ctx context.Context, l *ledger.Ledger, path string, by campaign.Identity) (*ledger.List, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	w, err := l.CreateList(ctx, "", "audience.csv", by.String())
	if err != nil {
		return nil, err
	}
	sum, err := importer.Import(ctx, f, w, importer.Options{Name: "audience.csv", Country: "AU", Identity: by})
	if err != nil {
		return nil, err
	}
	return w.Finish(ctx, ledger.ListCounts{Rows: sum.Rows, Imported: sum.Imported, Duplicates: sum.Duplicates, Rejected: sum.Rejected})
}

// planned makes and plans a campaign with a text.
func planned(ctx context.Context, l *ledger.Ledger, p *jobs.Provider, list *ledger.List, text string) (*ledger.Campaign, error) {
	id, err := p.Identity(ctx)
	if err != nil {
		return nil, err
	}
	c, err := l.CreateCampaign(ctx, ledger.NewCampaign{
		Content: campaign.Content{Channel: campaign.SMS, From: "ACME", Body: text},
		ListID:  list.ID, Digest: list.Digest, Provider: id, Currency: "AUD", Actor: "bench",
	})
	if err != nil {
		return nil, err
	}
	if _, err := jobs.Plan(ctx, l, c, campaign.Limits{}, jobs.PlanOptions{Unique: true}); err != nil {
		return nil, err
	}
	return l.Campaign(ctx, c.ID)
}

// plan makes, plans and starts a campaign without asking for its price.
func plan(ctx context.Context, l *ledger.Ledger, p *jobs.Provider, list *ledger.List) (*ledger.Campaign, error) {
	c, err := planned(ctx, l, p, list, body)
	if err != nil {
		return nil, err
	}
	if _, err := jobs.SkipQuote(ctx, l, c, "bench"); err != nil {
		return nil, err
	}
	return c, l.Approve(ctx, c.ID, ledger.Approval{Actor: "bench"})
}

// getJSON reads one of the sandbox's control endpoints.
func getJSON(url string, v any) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
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
	return json.NewDecoder(res.Body).Decode(v)
}
