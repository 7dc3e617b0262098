package ratelimit

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A store keeps the budgets.
type store interface {
	reserve(ctx context.Context, k Key, t terms) (answer, error)
	learn(ctx context.Context, k Key, l lesson) error
	// peek returns the interval in force and changes nothing.
	peek(ctx context.Context, k Key, configured int64, fixed bool) (int64, error)
}

// patienceWithRedis is how long a call to Redis may take, retries included.
const patienceWithRedis = 3 * time.Second

var (
	//go:embed reserve.lua
	reserveLua string
	//go:embed learn.lua
	learnLua string
)

// redisStore keeps them in Redis, a hash each.
type redisStore struct {
	rdb      redis.UniversalClient
	prefix   string
	reserver *redis.Script
	learner  *redis.Script
}

func newRedisStore(rdb redis.UniversalClient, prefix string) *redisStore {
	return &redisStore{rdb: rdb, prefix: prefix, reserver: redis.NewScript(reserveLua), learner: redis.NewScript(learnLua)}
}

func (s *redisStore) reserve(ctx context.Context, k Key, t terms) (answer, error) {
	r, err := s.run(ctx, s.reserver, k, 5,
		t.configured, flag(t.fixed), t.cost, t.slot, t.gen, t.patience, t.tolerance)
	if err != nil {
		return answer{}, err
	}
	return answer{verdict: verdict(r[0]), wait: r[1], slot: r[2], gen: r[3], interval: r[4]}, nil
}

func (s *redisStore) learn(ctx context.Context, k Key, l lesson) error {
	_, err := s.run(ctx, s.learner, k, 2,
		l.limit, l.remaining, l.reset, l.retry, flag(l.refused), l.configured, l.life, pace)
	return err
}

func (s *redisStore) peek(ctx context.Context, k Key, configured int64, fixed bool) (int64, error) {
	call, cancel := context.WithTimeout(ctx, patienceWithRedis)
	defer cancel()
	var b struct {
		Interval int64 `redis:"interval"`
		Until    int64 `redis:"until"`
	}
	key := s.key(k)
	now := s.rdb.Time(call)
	if err := now.Err(); err != nil {
		return 0, s.failed(ctx, err)
	}
	fields := s.rdb.HMGet(call, key, "interval", "until")
	if err := fields.Err(); err != nil {
		return 0, s.failed(ctx, err)
	}
	if err := fields.Scan(&b); err != nil {
		return 0, fmt.Errorf("reading the rate budget %s: %w", key, err)
	}
	known := budget{interval: b.Interval, until: b.Until}
	return known.inForce(now.Val().UnixMicro(), configured, fixed), nil
}

// run calls a script whose reply is n whole numbers.
func (s *redisStore) run(ctx context.Context, script *redis.Script, k Key, n int, args ...any) ([]int64, error) {
	call, cancel := context.WithTimeout(ctx, patienceWithRedis)
	defer cancel()
	r, err := script.Run(call, s.rdb, []string{s.key(k)}, args...).Int64Slice()
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if len(r) != n {
		return nil, &UnavailableError{Err: fmt.Errorf("the script replied with %d numbers instead of %d", len(r), n)}
	}
	return r, nil
}

// failed tells a caller that gave up from a Redis that did not answer.
func (s *redisStore) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &UnavailableError{Err: err}
}

// key is the Redis key of k's budget. The part in braces is its hash tag in a
// Redis Cluster.
func (s *redisStore) key(k Key) string {
	sum := sha256.Sum256([]byte(k.Account))
	return s.prefix + "rate:{" + hex.EncodeToString(sum[:8]) + "}:" + k.Endpoint
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// memoryStore keeps them in this process.
type memoryStore struct {
	clock Clock

	mu      sync.Mutex
	budgets map[Key]*budget
}

func (s *memoryStore) reserve(_ context.Context, k Key, t terms) (answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.budget(k).reserve(s.clock.Now().UnixMicro(), t), nil
}

func (s *memoryStore) learn(_ context.Context, k Key, l lesson) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.budget(k).learn(s.clock.Now().UnixMicro(), l)
	return nil
}

func (s *memoryStore) peek(_ context.Context, k Key, configured int64, fixed bool) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.budget(k).inForce(s.clock.Now().UnixMicro(), configured, fixed), nil
}

func (s *memoryStore) budget(k Key) *budget {
	b, ok := s.budgets[k]
	if !ok {
		b = &budget{}
		s.budgets[k] = b
	}
	return b
}
