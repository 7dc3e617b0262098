package ratelimit

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// How many requests a second one process gets out of a shared budget that is
// far larger: what asking Redis costs.
func BenchmarkWait(b *testing.B) {
	addr := startRedis(b).addr
	for name, o := range map[string]Options{
		"unlimited":            {Rate: Unlimited},
		"1000 a second":        {Rate: 1000},
		"memory, 1e6 a second": {Rate: 1e6},
	} {
		b.Run(name, func(b *testing.B) {
			var rdb redis.UniversalClient
			if o.Rate != 1e6 {
				rdb = client(b, addr)
			}
			l := New(rdb, o)
			start := time.Now()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.Wait(b.Context(), sms, 1000); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "requests/s")
		})
	}
}
