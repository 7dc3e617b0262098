package scheduler_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/internal/services"
	"github.com/postrider/postrider/jobs"
	"github.com/postrider/postrider/ledger"
	"github.com/postrider/postrider/scheduler"
)

func TestMain(m *testing.M) { services.Main(m, services.NoLeaks()) }

// lines is a log that tests wait on.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
	grew chan struct{}
}

func newLines() *lines { return &lines{grew: make(chan struct{}, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.grew <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

// await returns once the log holds the words.
func (l *lines) await(t *testing.T, words string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		l.mu.Lock()
		there := strings.Contains(l.text.String(), words)
		l.mu.Unlock()
		if there {
			return
		}
		select {
		case <-l.grew:
		case <-deadline:
			t.Fatalf("the log never said %q", words)
		}
	}
}

// house is a ledger with a beat over an embedded queue.
type house struct {
	ledger   *ledger.Ledger
	embedded *jobs.Embedded
	queue    *asynq.Inspector
	beat     *scheduler.Beat
	log      *lines
}

func newHouse(t *testing.T) *house {
	t.Helper()
	l, err := ledger.Open(t.Context(), filepath.Join(t.TempDir(), "postrider.db"), ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := jobs.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(embedded.Options())
	h := &house{ledger: l, embedded: embedded, queue: asynq.NewInspectorFromRedisClient(client), log: newLines()}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	h.beat = &scheduler.Beat{Log: log, Every: 5 * time.Millisecond, Dispatcher: &jobs.Dispatcher{
		Ledger: l, Queue: asynq.NewClientFromRedisClient(client), Redis: client, Log: log, TaskTimeout: time.Minute,
	}}
	t.Cleanup(func() {
		h.beat.Shutdown()
		client.Close() //nolint:errcheck // the test is over
		embedded.Close()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// scheduled is a planned campaign of one recipient that starts at an hour.
func (h *house) scheduled(t *testing.T, at time.Time) *ledger.Campaign {
	t.Helper()
	ctx := t.Context()
	w, err := h.ledger.CreateList(ctx, "", "people.csv", "number")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Contacts(ctx, []campaign.Contact{{Line: 2, Phone: "+61412345678"}}); err != nil {
		t.Fatal(err)
	}
	list, err := w.Finish(ctx, ledger.ListCounts{Rows: 1, Imported: 1})
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.ledger.CreateCampaign(ctx, ledger.NewCampaign{
		Again:   true,
		Content: campaign.Content{Channel: campaign.SMS, Body: "hello"}, ListID: list.ID, Digest: "d", StartAt: at,
		Provider: ledger.Provider{URL: "https://example.test/v3", User: "1"}, Actor: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.Plan(ctx, h.ledger, c, campaign.Limits{}, jobs.PlanOptions{}); err != nil {
		t.Fatal(err)
	}
	if c, err = h.ledger.Campaign(ctx, c.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.SkipQuote(ctx, h.ledger, c, "test"); err != nil {
		t.Fatal(err)
	}
	if err := h.ledger.Approve(ctx, c.ID, ledger.Approval{To: campaign.Scheduled, Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACampaignStartsAtItsHourAndItsBatchIsDispatchedOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	due := h.scheduled(t, time.Now())
	later := h.scheduled(t, time.Now().Add(time.Hour))
	h.beat.Start()
	h.log.await(t, "a scheduled campaign starts")
	deadline := time.Now().Add(20 * time.Second)
	for {
		tasks, err := h.queue.ListPendingTasks(jobs.Queue(h.ledger.ID(), campaign.SMS))
		if err == nil && len(tasks) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the batch was never dispatched: %d tasks, %v", len(tasks), err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	h.beat.Shutdown()
	for id, want := range map[int64]campaign.State{due.ID: campaign.Sending, later.ID: campaign.Scheduled} {
		c, err := h.ledger.Campaign(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if c.State != want {
			t.Errorf("campaign %d is %s, want %s", id, c.State, want)
		}
	}
	tasks, err := h.queue.ListPendingTasks(jobs.Queue(h.ledger.ID(), campaign.SMS))
	if err != nil || len(tasks) != 1 {
		t.Errorf("%d tasks are waiting (%v), want the one", len(tasks), err)
	}
}

func TestABeatWhoseRedisHasGoneSaysSoAndEnds(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.beat.Start()
	h.embedded.Break()
	h.log.await(t, "nothing can be dispatched for now")
	h.embedded.Mend()
	h.log.await(t, "dispatching goes on")
	h.beat.Shutdown()
}
